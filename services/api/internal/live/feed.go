package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"weir/services/shared/retry"
	"weir/services/shared/rollup"
)

// silence is how long nothing may come from Redis before it is asked whether it is
// there; after as long again it is taken to be lost. Pub/Sub tells nobody what was
// missed, so the loss itself must be noticed.
const silence = 2 * time.Second

// signal is what the feed tells the hub: a batch, or that the subscription began or
// ended.
type signal struct {
	event signalEvent
	batch batch
}

type signalEvent int

const (
	published signalEvent = iota
	subscribed
	lost
)

// feed is the subscription to the consumers' batches.
type feed struct {
	client  redis.UniversalClient
	channel string
	log     *slog.Logger
}

// run subscribes, again and again after a loss, until ctx ends.
func (f feed) run(ctx context.Context, out chan<- signal) {
	backoff := retry.Backoff()
	for ctx.Err() == nil {
		began, err := f.session(ctx, out)
		if began {
			backoff.Reset()
			send(ctx, out, signal{event: lost})
		}
		wait := backoff.NextBackOff()
		if ctx.Err() == nil {
			f.log.Warn("Live subscription lost, trying again.", "error", err, "wait", wait.String())
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// session is one subscription on one connection. It reports whether it began, and
// why it ended. go-redis would connect again in silence, which loses messages
// unnoticed: so any error ends the session, as does a second confirmation.
func (f feed) session(ctx context.Context, out chan<- signal) (began bool, err error) {
	sub := f.client.Subscribe(ctx)
	closeSub := func() { _ = sub.Close() } // fails only when it is closed already
	defer closeSub()
	// A read is not interrupted by ctx, but by closing what it reads from.
	defer context.AfterFunc(ctx, closeSub)()
	if err := sub.Subscribe(ctx, f.channel); err != nil {
		return false, fmt.Errorf("subscribe: %w", err)
	}
	asked := false
	for {
		message, err := sub.ReceiveTimeout(ctx, silence)
		var network net.Error
		switch {
		case errors.As(err, &network) && network.Timeout() && !asked:
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return began, fmt.Errorf("ping subscription: %w", err)
			}
			continue
		case err != nil:
			return began, fmt.Errorf("receive: %w", err)
		}
		asked = false
		switch m := message.(type) {
		case *redis.Subscription:
			if began {
				return true, errors.New("the connection was replaced")
			}
			began = true
			send(ctx, out, signal{event: subscribed})
		case *redis.Message:
			var b rollup.Batch
			// json.Unmarshal would go through all of it twice more before it calls this.
			if err := b.UnmarshalJSON([]byte(m.Payload)); err != nil {
				// What it said is not known: only a new picture makes it good.
				return began, err
			}
			send(ctx, out, signal{published, reduce(&b, windowStart(time.Now()))})
		}
	}
}

func send(ctx context.Context, out chan<- signal, s signal) {
	select {
	case out <- s:
	case <-ctx.Done():
	}
}
