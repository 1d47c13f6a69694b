package live

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"

	"weir/services/api/internal/access"
)

// writeTimeout is how long one message may take to enter the client's connection.
// A client that reads nothing for as long, with its buffers full, is gone.
const writeTimeout = 5 * time.Second

// client is one connection, over WebSocket or SSE. The hub puts bursts in, and may end
// it; the client's own goroutines do the rest.
type client struct {
	bursts  chan burst
	answers chan *packet // to what the client said, from its own reader
	flooded chan struct{}

	over   chan struct{} // closed by end
	code   websocket.StatusCode
	reason string

	// The hub's.
	wants   Subscription
	sampler *sampler // nil without sampled events
	good    access.Good
}

// transport is how messages reach a client.
type transport interface {
	// write returns when the message is in the connection, or after writeTimeout.
	write(p *packet) error
	// read takes what the client says, until it says no more or nonsense, or ctx ends.
	read(ctx context.Context)
	// close ends the connection with a reason, as far as the transport has room for one.
	close(code websocket.StatusCode, reason string)
	// free lets go of the connection, however it ended.
	free()
}

func newClient(buffer int) *client {
	return &client{bursts: make(chan burst, buffer), answers: make(chan *packet), flooded: make(chan struct{}), over: make(chan struct{})}
}

// end makes the client close its connection, after the message that it is writing.
// The hub calls it, once at most.
func (c *client) end(code websocket.StatusCode, reason string) {
	c.code, c.reason = code, reason
	close(c.over)
}

// serve writes what the hub puts in, until either side ends. It reports whether the
// client was cut off because it did not read, before the hub knew.
func (c *client) serve(ctx context.Context, t transport) (slow bool) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer cancel()
		t.read(ctx)
	})
	err := c.write(ctx, t)
	cancel()
	reading.Wait()
	select {
	case <-c.over:
		return false
	default:
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
}

func (c *client) write(ctx context.Context, t transport) error {
	for {
		select {
		case <-c.over: // before any message that waits: it is too late for those
			t.close(c.code, c.reason)
			return nil
		default:
		}
		select {
		case <-c.over:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.flooded:
			t.close(websocket.StatusPolicyViolation, tooMuch)
			return nil
		case p := <-c.answers:
			if err := t.write(p); err != nil {
				return err
			}
		case b := <-c.bursts:
			for _, p := range b {
				if err := t.write(p); err != nil {
					return err
				}
			}
		}
	}
}
