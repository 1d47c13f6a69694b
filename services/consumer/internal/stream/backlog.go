package stream

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Backlog is what a group has still to do in one partition.
type Backlog struct {
	Events  int64         // not acknowledged: waiting and pending
	Pending int64         // given to a consumer, not acknowledged
	Age     time.Duration // of the oldest event that is not acknowledged
	Length  int64         // entries in the stream, acknowledged ones not yet trimmed included
}

// Backlog measures the group's backlog.
func (g Group) Backlog(ctx context.Context) (Backlog, error) {
	length, err := g.Client.XLen(ctx, g.Key).Result()
	if err != nil {
		return Backlog{}, fmt.Errorf("measure backlog: %w", err)
	}
	groups, err := g.groups(ctx)
	if err != nil {
		return Backlog{}, err
	}
	b := Backlog{Events: length, Length: length}
	for _, info := range groups {
		if info.Name != g.Name {
			continue
		}
		oldest, pending, err := g.pending(ctx, info)
		if err != nil {
			return Backlog{}, err
		}
		b.Pending = pending
		// Redis does not know the lag once an undelivered entry was deleted; then the
		// length, which is kept small by trimming, is the best upper bound.
		if info.Lag >= 0 && (info.Lag > 0 || info.LastDeliveredID != "0-0" || length == 0) {
			b.Events = info.Lag + pending
		}
		if ms := idTime(oldest); ms > 0 {
			b.Age = max(0, time.Since(time.UnixMilli(ms)))
		}
	}
	return b, nil
}

// pending returns the id of the oldest entry that is not acknowledged, or "", and how
// many are pending. Marks beyond a page count as one entry each: the page alone stands
// for millions.
func (g Group) pending(ctx context.Context, info redis.XInfoGroup) (oldest string, n int64, err error) {
	if info.Pending > 0 {
		const page = 1000
		list, err := g.Client.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: g.Key, Group: g.Name, Start: "-", End: "+", Count: page}).Result()
		if err != nil {
			return "", 0, fmt.Errorf("list pending: %w", err)
		}
		n = max(0, info.Pending-int64(len(list)))
		for _, e := range list {
			n += min(max(1, e.RetryCount), mostOfMark)
		}
		if len(list) > 0 {
			return list[0].ID, n, nil
		}
	}
	next, err := g.Client.XRangeN(ctx, g.Key, "("+info.LastDeliveredID, "+", 1).Result()
	if err != nil {
		return "", 0, fmt.Errorf("read oldest: %w", err)
	}
	if len(next) == 0 {
		return "", n, nil
	}
	return next[0].ID, n, nil
}

// Trim removes the entries that every group of the stream has acknowledged and
// returns how many. It never passes a limit on length: that would remove entries
// nobody has read.
func (g Group) Trim(ctx context.Context) (int64, error) {
	groups, err := g.groups(ctx)
	if err != nil || len(groups) == 0 {
		return 0, err
	}
	limit := ""
	for _, info := range groups {
		id := info.LastDeliveredID
		if info.Pending > 0 {
			p, err := g.Client.XPending(ctx, g.Key, info.Name).Result()
			if err != nil {
				return 0, fmt.Errorf("read pending: %w", err)
			}
			if p.Lower != "" {
				id = p.Lower
			}
		}
		if limit == "" || idLess(id, limit) {
			limit = id
		}
	}
	var total int64
	for {
		// Whole nodes only (~), and Redis stops after a number of its own choosing.
		n, err := g.Client.XTrimMinIDApprox(ctx, g.Key, limit, 0).Result()
		if err != nil {
			return total, fmt.Errorf("trim: %w", err)
		}
		if total += n; n == 0 {
			return total, nil
		}
	}
}

func (g Group) groups(ctx context.Context) ([]redis.XInfoGroup, error) {
	groups, err := g.Client.XInfoGroups(ctx, g.Key).Result()
	if err != nil && strings.Contains(err.Error(), "no such key") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	return groups, nil
}

// idLess orders stream ids: milliseconds, then sequence number.
func idLess(a, b string) bool {
	am, as, _ := strings.Cut(a, "-")
	bm, bs, _ := strings.Cut(b, "-")
	if am != bm {
		return number(am) < number(bm)
	}
	return number(as) < number(bs)
}

func idTime(id string) int64 {
	ms, _, _ := strings.Cut(id, "-")
	return int64(min(number(ms), math.MaxInt64))
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// Time returns when the entry was added to the stream, by Redis' clock. A producer
// may choose any id; one past the year 9999 counts as then, which is as late as
// others can store.
func (e Entry) Time() time.Time {
	const latest = 253_402_300_799_999
	return time.UnixMilli(min(idTime(e.ID), latest)).UTC()
}
