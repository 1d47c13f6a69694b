package rig

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"weir/loadgen"
	"weir/services/shared/event"
)

// Fill publishes events that happened in the last days, as fast as they are written:
// the whole pipeline works, so that what is loaded is what it would have been. progress
// is told now and then how many are published.
func (r *Rig) Fill(ctx context.Context, events int64, days int, progress func(int64)) error {
	// Whole seconds keep the windows of Verify on milliseconds.
	span := time.Duration(days) * 24 * time.Hour
	start := time.Now().Add(-span).Truncate(time.Second).UTC()
	l := loaded{Load: Load{Rate: float64(events) / span.Seconds(), Even: true}, seed: 1, start: start, offered: events, published: events}
	g, err := l.generator()
	if err != nil {
		return err
	}
	const size = 500
	batches := make(chan []loadgen.Item, 8)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(batches)
		for more := true; more; {
			var batch []loadgen.Item
			for len(batch) < size {
				var item loadgen.Item
				if item, more = g.Next(nil); !more {
					break
				}
				batch = append(batch, item)
			}
			select {
			case batches <- batch:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	group.Go(func() error {
		done, looked := int64(0), time.Time{}
		for batch := range batches {
			if _, err := r.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
				for _, item := range batch {
					key := event.StreamKey(r.Box.StreamName, event.Partition(item.Actor, r.options.Partitions), r.options.Partitions)
					p.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []any{event.Field, item.Payload}})
				}
				return nil
			}); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			done += int64(len(batch))
			if time.Since(looked) > time.Second/4 {
				looked = time.Now()
				progress(done)
				if err := r.await(ctx, 200_000); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	r.ledger.loads = append(r.ledger.loads, l)
	return nil
}

// await returns when no more than so many events wait for the consumers.
func (r *Rig) await(ctx context.Context, most int64) error {
	for {
		b, err := r.Backlog(ctx)
		if err != nil {
			return err
		}
		if b.Events <= most {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
