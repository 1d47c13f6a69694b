package gate

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"weir/services/shared/backlog"
	"weir/services/shared/redisclient"
)

// reading is what one measurement found.
type reading struct {
	at            time.Time
	events        int64         // waiting for the consumer, in all streams
	done          int64         // acknowledged since the groups began
	age           time.Duration // of the oldest that waits
	memory, limit int64         // bytes that Redis uses, and may use
	drain         float64       // events per second that the consumer can take away
	sureness      float64       // how much of the last seconds drain is based on, up to 1
}

// read measures the backlog of each stream, and Redis' memory.
func (g *Gate) read(ctx context.Context) (r reading, err error) {
	r.at = time.Now()
	for _, key := range g.keys {
		b, err := backlog.Measure(ctx, g.client, key, g.config.Group)
		if err != nil {
			return r, err
		}
		r.events += b.Events
		r.done += b.Done
		if b.Group { // else nobody has begun to read, and nothing is overdue
			r.age = max(r.age, b.Age)
		}
	}
	err = g.readMemory(ctx, &r)
	return r, err
}

// readMemory measures Redis' memory; of a cluster that of the node that is the fullest.
func (g *Gate) readMemory(ctx context.Context, r *reading) error {
	var mu sync.Mutex
	return redisclient.Each(ctx, g.client, func(ctx context.Context, node redis.UniversalClient) error {
		info, err := node.Info(ctx, "memory").Result()
		if err != nil {
			return fmt.Errorf("measure memory: %w", err)
		}
		memory, limit := number(info, "used_memory"), g.config.MaxMemory
		if most := number(info, "maxmemory"); most > 0 {
			limit = min(limit, most/10*9)
		}
		mu.Lock()
		defer mu.Unlock()
		if r.limit == 0 || limit-memory < r.limit-r.memory {
			r.memory, r.limit = memory, limit
		}
		return nil
	})
}

// low is the memory below which events are accepted again.
func (r reading) low() int64 { return int64(float64(r.limit) * memoryLow) }

// smooth is over how long the drain rate is averaged: several of the consumer's
// batches.
const smooth = 5 * time.Second

// drainUntil returns the drain rate, as known at r: while the consumer has more to do
// than it can, the mean of some seconds. When it did all that there was, its rate is
// that of the events that came: it can do at least that.
func (last reading) drainUntil(r reading) (drain, sureness float64) {
	passed := r.at.Sub(last.at).Seconds()
	// What was acknowledged; where Redis does not know, by how much less there is.
	done := max(r.done-last.done, last.events-r.events, 0)
	if last.at.IsZero() || passed <= 0 {
		return 0, 0
	}
	if done >= last.events {
		return max(last.drain, float64(done)/passed), last.sureness
	}
	share := 1 - math.Exp(-passed/smooth.Seconds())
	sureness = last.sureness + share*(1-last.sureness)
	// The first seconds are not taken for a mean of them and zeros.
	return last.drain + share/sureness*(float64(done)/passed-last.drain), sureness
}

// wait estimates how long it takes until events are accepted again, after they have
// been refused for so long.
func (r reading) wait(why Reason, c *Config, shut time.Duration) time.Duration {
	var surplus float64 // events to be taken away first
	switch events := float64(r.events); why {
	case Backlog:
		surplus = events - float64(c.LowEvents)
	case Age:
		surplus = events * (1 - c.LowAge.Seconds()/max(r.age, c.HighAge).Seconds())
	case Memory: // taking the backlog for what fills it
		surplus = events * (1 - float64(r.low())/float64(max(r.memory, r.limit, 1)))
	default: // an outage, or a moment's rush: nothing to compute
		return minWait
	}
	estimate := shut.Seconds() // as long again, while nothing is known
	if r.drain > 0 {
		estimate = surplus / r.drain
	}
	return time.Duration(min(max(estimate, minWait.Seconds()), maxWait.Seconds()) * float64(time.Second))
}

// number finds a number in the text of INFO; 0 when it is not there.
func number(info, name string) int64 {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}
