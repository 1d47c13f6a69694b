// Package backlog measures how much a consumer group has still to do: the consumer
// reports it, and ingestion refuses events by it.
package backlog

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"weir/services/shared/redisclient"
)

// Backlog is what a group has still to do in one stream.
type Backlog struct {
	Group   bool          // the group exists; without it all of the stream is waiting
	Events  int64         // not acknowledged: waiting and pending
	Pending int64         // given to a consumer, not acknowledged
	Age     time.Duration // of the oldest event that is not acknowledged, by Redis' clock
	Length  int64         // entries in the stream, acknowledged ones not yet trimmed included
	Done    int64         // acknowledged since the group began; 0 when Redis does not know
	Now     time.Time     // by Redis' clock
}

// Measure measures the backlog of a group in the stream at key, in two round trips.
func Measure(ctx context.Context, client redis.UniversalClient, key, group string) (Backlog, error) {
	// Of a cluster it is the stream's node whose clock tells the age.
	node, err := redisclient.Node(ctx, client, key)
	if err != nil {
		return Backlog{}, err
	}
	b, err := measure(ctx, node, key, group)
	if err != nil {
		redisclient.Moved(ctx, client)
	}
	return b, err
}

func measure(ctx context.Context, client redis.UniversalClient, key, group string) (Backlog, error) {
	var now *redis.TimeCmd
	var length *redis.IntCmd
	var groups *redis.XInfoGroupsCmd
	// Each command's own error counts: a stream that is not there is no failure.
	_, _ = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		now, length, groups = p.Time(ctx), p.XLen(ctx, key), p.XInfoGroups(ctx, key)
		return nil
	})
	if err := groups.Err(); err != nil && strings.Contains(err.Error(), "no such key") && now.Err() == nil {
		return Backlog{Now: now.Val()}, nil
	}
	for _, err := range []error{now.Err(), length.Err(), groups.Err()} {
		if err != nil {
			return Backlog{}, fmt.Errorf("measure backlog: %w", err)
		}
	}
	b := Backlog{Events: length.Val(), Length: length.Val(), Now: now.Val()}
	oldest, from := "", "-"
	for _, info := range groups.Val() {
		if info.Name != group {
			continue
		}
		var err error
		if oldest, b.Pending, err = pending(ctx, client, key, info); err != nil {
			return Backlog{}, err
		}
		b.Group, b.Done = true, max(0, info.EntriesRead-b.Pending)
		// Redis does not know the lag once an undelivered entry was deleted; then the
		// length, which is kept small by trimming, is the best upper bound.
		if info.Lag >= 0 && (info.Lag > 0 || info.LastDeliveredID != "0-0" || b.Length == 0) {
			b.Events = info.Lag + b.Pending
		}
		from = "(" + info.LastDeliveredID
	}
	if oldest == "" { // nothing is pending
		var err error
		if oldest, err = next(ctx, client, key, from); err != nil {
			return Backlog{}, err
		}
	}
	if ms := Milliseconds(oldest); ms > 0 {
		b.Age = max(0, now.Val().Sub(time.UnixMilli(ms)))
	}
	return b, nil
}

// MostOfMark bounds the entries that one pending entry stands for: the consumer takes
// entries as a chunk, whose first is pending as its mark, with their number in the
// place of the deliveries. A number beyond it is somebody else's.
const MostOfMark = 10_000

// pending returns the oldest pending entry, or "", and how many entries are pending.
// Marks beyond a page count as one entry each: the page alone stands for millions.
func pending(ctx context.Context, client redis.UniversalClient, key string, info redis.XInfoGroup) (oldest string, n int64, err error) {
	if info.Pending == 0 {
		return "", 0, nil
	}
	const page = 1000
	list, err := client.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: info.Name, Start: "-", End: "+", Count: page}).Result()
	if err != nil {
		return "", 0, fmt.Errorf("list pending: %w", err)
	}
	n = max(0, info.Pending-int64(len(list)))
	for _, e := range list {
		n += min(max(1, e.RetryCount), MostOfMark)
	}
	if len(list) > 0 {
		oldest = list[0].ID
	}
	return oldest, n, nil
}

// next returns the id of the first entry from there on, or "".
func next(ctx context.Context, client redis.UniversalClient, key, from string) (string, error) {
	entries, err := client.XRangeN(ctx, key, from, "+", 1).Result()
	if err != nil {
		return "", fmt.Errorf("read oldest: %w", err)
	}
	if len(entries) == 0 {
		return "", nil
	}
	return entries[0].ID, nil
}

// Milliseconds returns the Unix time that an entry's id begins with.
func Milliseconds(id string) int64 {
	ms, _, _ := strings.Cut(id, "-")
	n, _ := strconv.ParseUint(ms, 10, 64)
	return int64(min(n, math.MaxInt64))
}
