package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"weir/services/shared/event"
	"weir/services/shared/retry"
)

// Chunk is what one read gave. The entries are pending until acknowledged.
type Chunk struct {
	Group   Group
	Entries []Entry

	// Redelivered entries were given to a consumer before, perhaps this one, which
	// may have stored them.
	Redelivered bool
}

// Reader reads one partition for one consumer.
type Reader struct {
	Group    Group
	Consumer string // stable over restarts, so that a consumer finds its own pending entries
	Log      *slog.Logger

	Count      int64         // most entries of one read
	Block      time.Duration // longest wait of one read
	ClaimEvery time.Duration // how often to look for entries left by dead consumers
	ClaimIdle  time.Duration // pending without a sign for this long means left

	// Gate blocks while nothing should be read (paused, or the breaker is open).
	Gate func(context.Context) error

	// Abandon is closed when nobody takes chunks any more; what is left of them then
	// stays pending. Nil means never.
	Abandon <-chan struct{}
}

// Run sends what it reads to out until ctx ends; it returns nil then, once it has
// also sent what it had read, so that a clean stop leaves nothing pending. Errors of
// Redis are waited out. out is bounded, so reading stops when writing is slow and the
// backlog stays in the stream.
//
// The order: first the entries that this consumer left pending when it last
// stopped, then new ones, and now and then those that others left.
func (r *Reader) Run(ctx context.Context, out chan<- Chunk) error {
	own := "0" // position in the consumer's own pending entries; "" when through
	claim, claimFrom := time.Now().Add(r.ClaimEvery), "0-0"
	wait := retry.Backoff()
	ensured := false
	for {
		if err := r.Gate(ctx); err != nil {
			return nil
		}
		var chunk Chunk
		var err error
		switch {
		case !ensured:
			if err = r.Group.Ensure(ctx); err == nil {
				ensured = true
			}
		case own != "":
			chunk, own, err = r.pending(ctx, own)
		case time.Now().After(claim):
			chunk, claimFrom, err = r.claim(ctx, claimFrom)
			if err == nil && claimFrom == "0-0" { // been through all
				claim = time.Now().Add(r.ClaimEvery)
			}
		default:
			chunk, err = r.fresh(ctx)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if noGroup(err) {
				// Flushed, or failed over to a replica that lacked it.
				r.Log.Warn("The consumer group is gone, creating it again.", "stream", r.Group.Key, "group", r.Group.Name)
				ensured, own = false, "0"
			} else {
				r.Log.Warn("Reading the stream failed, trying again.", "stream", r.Group.Key, "error", err)
			}
			select {
			case <-time.After(wait.NextBackOff()):
			case <-ctx.Done():
			}
			continue
		}
		wait.Reset()
		if len(chunk.Entries) > 0 {
			select {
			case out <- chunk:
			case <-r.Abandon:
				return nil
			}
		}
	}
}

// fresh reads entries that no consumer of the group has been given.
func (r *Reader) fresh(ctx context.Context) (Chunk, error) {
	messages, err := r.read(ctx, ">")
	return Chunk{Group: r.Group, Entries: entries(messages)}, err
}

// pending reads this consumer's own pending entries after the id from, and returns
// where to go on, "" at the end.
func (r *Reader) pending(ctx context.Context, from string) (Chunk, string, error) {
	messages, err := r.read(ctx, from)
	if err != nil {
		return Chunk{}, from, err
	}
	if err := r.lost(ctx, messages); err != nil {
		return Chunk{}, from, err
	}
	next := ""
	if len(messages) > 0 {
		next = messages[len(messages)-1].ID
		r.Log.Info("Going on with entries left pending by an earlier run.", "stream", r.Group.Key, "entries", len(messages))
	}
	return Chunk{Group: r.Group, Entries: entries(messages), Redelivered: true}, next, nil
}

func (r *Reader) read(ctx context.Context, from string) ([]redis.XMessage, error) {
	streams, err := r.Group.Reading.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: r.Group.Name, Consumer: r.Consumer, Streams: []string{r.Group.Key, from}, Count: r.Count, Block: r.Block,
	}).Result()
	var network *net.OpError
	if errors.Is(err, redis.Nil) || from == ">" && errors.As(err, &network) && network.Op == "read" && network.Timeout() {
		return nil, nil // nothing arrived
	}
	if err != nil || len(streams) == 0 {
		return nil, err
	}
	return streams[0].Messages, nil
}

// claim takes over entries of consumers that gave no sign for ClaimIdle, looking
// from an id on, and returns where to go on, "0-0" at the end.
func (r *Reader) claim(ctx context.Context, from string) (Chunk, string, error) {
	messages, next, deleted, err := r.Group.Client.XAutoClaimWithDeleted(ctx, &redis.XAutoClaimArgs{
		Stream: r.Group.Key, Group: r.Group.Name, Consumer: r.Consumer, MinIdle: r.ClaimIdle, Start: from, Count: r.Count,
	}).Result()
	if err != nil {
		return Chunk{}, from, fmt.Errorf("take over: %w", err)
	}
	if len(deleted) > 0 {
		r.Log.Error("Pending entries were deleted from the stream before they were stored.", "stream", r.Group.Key, "ids", deleted)
	}
	if len(messages) > 0 {
		r.Log.Info("Taking over entries that a consumer left.", "stream", r.Group.Key, "entries", len(messages))
	}
	return Chunk{Group: r.Group, Entries: entries(messages), Redelivered: true}, next, nil
}

// lost acknowledges pending entries that are no longer in the stream: somebody
// deleted them, and nothing is left to store.
func (r *Reader) lost(ctx context.Context, messages []redis.XMessage) error {
	var ids []string
	for _, m := range messages {
		if m.Values == nil {
			ids = append(ids, m.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	r.Log.Error("Pending entries were deleted from the stream before they were stored.", "stream", r.Group.Key, "ids", ids)
	return r.Group.Ack(ctx, ids)
}

// entries takes over what is needed of go-redis' messages, whose map for each entry
// is larger than the event. An entry without the field keeps an empty payload, and so
// becomes a dead letter; one that is no longer in the stream has no values at all.
func entries(messages []redis.XMessage) []Entry {
	list := make([]Entry, 0, len(messages))
	for i := range messages {
		if m := &messages[i]; m.Values != nil {
			payload, _ := m.Values[event.Field].(string)
			list = append(list, Entry{m.ID, payload})
		}
	}
	return list
}
