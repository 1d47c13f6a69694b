package stream

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"weir/services/shared/backlog"
)

// Backlog measures the group's backlog.
func (g Group) Backlog(ctx context.Context) (backlog.Backlog, error) {
	return backlog.Measure(ctx, g.Client, g.Key, g.Name)
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

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// Time returns when the entry was added to the stream, by Redis' clock. A producer
// may choose any id; one past the year 9999 counts as then, which is as late as
// others can store.
func (e Entry) Time() time.Time {
	const latest = 253_402_300_799_999
	return time.UnixMilli(min(backlog.Milliseconds(e.ID), latest)).UTC()
}
