// Package stream is the consumer's side of the Redis Streams: reading as one
// member of a consumer group, acknowledging, taking over, trimming, measuring.
package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Group is one consumer group's view of one partition.
type Group struct {
	Reading redis.UniversalClient // for blocking reads
	Client  redis.UniversalClient // for all else
	Key     string                // the stream
	Name    string                // the group
}

// Entry is one entry of the stream.
type Entry struct {
	ID      string
	Payload string
}

// Ensure creates the group, and the stream, unless they exist. The group begins
// at 0, not at the end: after a flush or a failover, what was published before the
// group came back is read too.
func (g Group) Ensure(ctx context.Context) error {
	err := g.Client.XGroupCreateMkStream(ctx, g.Key, g.Name, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return fmt.Errorf("create group: %w", err)
	}
	return nil
}

var errNoGroup = errors.New("NOGROUP")

// absent turns what Redis says when the stream or the group is gone into errNoGroup.
func absent(err error) error {
	if strings.HasPrefix(err.Error(), "NOGROUP") || strings.Contains(err.Error(), "no such key") {
		return errNoGroup
	}
	return err
}

// ackSize bounds the ids of one XACK, so that Redis is never busy with one command
// for more than about a millisecond.
const ackSize = 2000

// Ack acknowledges pending entries, and what they stand for as marks. Ids that are not
// pending, or no longer, are ignored.
func (g Group) Ack(ctx context.Context, ids []string) error {
	_, err := g.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for len(ids) > 0 {
			n := min(ackSize, len(ids))
			p.XAck(ctx, g.Key, g.Name, ids[:n]...)
			ids = ids[n:]
		}
		return nil
	})
	if err != nil && !errors.Is(absent(err), errNoGroup) { // without the group there is nothing to acknowledge
		return fmt.Errorf("acknowledge: %w", err)
	}
	return nil
}
