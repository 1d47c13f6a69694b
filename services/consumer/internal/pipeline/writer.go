package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"

	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/step"
	"weir/services/consumer/internal/store"
	"weir/services/shared/retry"
	"weir/services/shared/rollup"
)

// write turns chunks into committed batches until the chunks end. Each step says
// what a crash right after it leaves behind.
func (p *Pipeline) write(ctx context.Context) error {
	b := batch.New()
	if p.Uncounted {
		b = batch.NewUncounted()
	}
	var message []byte
	for {
		// 1. Gather. Crash: the entries stay pending; this consumer finds them when it
		// starts again, or another takes them over.
		b.Reset()
		if !p.gather(ctx, b) {
			return nil
		}
		p.Step.At(step.Gathered)

		// 2. Decode, validate, count. Crash: the same.
		start := time.Now()
		b.Decode(start)
		p.metrics.decode.Observe(time.Since(start).Seconds())
		p.Step.At(step.Decoded)

		// 3. Commit rows, dead letters and deltas in one transaction. Crash: all of it
		// is stored and the entries are pending; redelivered, they are recognised.
		result, err := p.commit(ctx, b)
		if err != nil {
			p.Log.Warn("A batch was not written in time and stays pending.", "entries", b.Entries(), "error", err)
			return nil
		}
		p.committed(b, result)
		p.Step.At(step.Committed)

		// 4. Acknowledge. Crash: done, but the live feed misses a delta until it next
		// compares itself with the database.
		p.acknowledge(ctx, b)
		p.Step.At(step.Acknowledged)

		// 5. Publish the deltas to the live feed.
		if b.Deltas.Len() > 0 {
			live := rollup.Batch{XID: result.XID, Deltas: b.Deltas.List()}
			message = live.AppendJSON(message[:0])
			if err := p.Live.Publish(ctx, p.Channel, message).Err(); err != nil {
				p.Log.Warn("Publishing to the live feed failed; it catches up from the database.", "error", err)
			}
		}
		p.Step.At(step.Published)
	}
}

// gather fills the batch: with what is there, and what arrives within BatchWait of
// the first chunk. It returns false when there is nothing more to come.
func (p *Pipeline) gather(ctx context.Context, b *batch.Batch) bool {
	p.gathering.Lock()
	defer p.gathering.Unlock()
	var full <-chan time.Time
	for {
		select {
		case c, ok := <-p.chunks:
			if !ok {
				return b.Entries() > 0
			}
			b.Add(c)
			if b.Entries() >= p.size.events() || b.Bytes() >= p.Config.BatchBytes {
				return true
			}
			if full == nil {
				timer := time.NewTimer(p.Config.BatchWait)
				defer timer.Stop()
				full = timer.C
			}
		case <-full:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// commit writes the batch, and waits out every outage. It returns an error only
// when ctx ends first.
func (p *Pipeline) commit(ctx context.Context, b *batch.Batch) (store.Result, error) {
	wait := retry.Backoff()
	for {
		start := time.Now()
		result, err := p.breaker.Execute(func() (store.Result, error) { return p.Store.Write(ctx, b) })
		if err == nil {
			took := time.Since(start)
			p.metrics.flush.Observe(took.Seconds())
			p.lastTook.Store(int64(took))
			p.metrics.batchLimit.Set(float64(p.size.learn(b.Entries(), took, len(p.chunks) > 0)))
			return result, nil
		}
		if ctx.Err() != nil {
			return store.Result{}, err
		}
		if !errors.Is(err, gobreaker.ErrOpenState) && !errors.Is(err, gobreaker.ErrTooManyRequests) {
			p.metrics.failures.Inc()
			p.Log.Warn("Writing a batch failed, trying again.", "entries", b.Entries(), "error", err)
		}
		select {
		case <-ctx.Done():
			return store.Result{}, err
		case <-time.After(wait.NextBackOff()):
		}
	}
}

func (p *Pipeline) committed(b *batch.Batch, r store.Result) {
	now := time.Now()
	p.lastFlush.Store(now.UnixMilli())
	p.lastBatch.Store(int64(b.Entries()))
	p.rate.Add(now, b.Entries())
	p.metrics.lastFlush.SetToCurrentTime()
	p.metrics.batch.Observe(float64(b.Entries()))
	p.metrics.events.WithLabelValues("stored").Add(float64(r.Inserted))
	p.metrics.events.WithLabelValues("dead").Add(float64(r.Dead))
	p.metrics.events.WithLabelValues("duplicate").Add(float64(b.Entries() - r.Inserted - r.Dead))
	for _, d := range b.Dead {
		p.metrics.dead.WithLabelValues(string(d.Stage)).Inc()
	}
	p.metrics.dead.WithLabelValues(string(batch.Store)).Add(float64(r.Dead - len(b.Dead)))
	if r.Dead > 0 {
		p.warnOfDead(int64(r.Dead))
	}
}

// warnOfDead logs that there were dead letters, now and then: a client that sends
// nothing else must not fill the log too.
func (p *Pipeline) warnOfDead(n int64) {
	const interval = 10_000 // milliseconds
	total, now := p.deadUntold.Add(n), time.Now().UnixMilli()
	if last := p.deadTold.Load(); now-last >= interval && p.deadTold.CompareAndSwap(last, now) {
		p.deadUntold.Add(-total)
		p.Log.Warn("Events were dead-lettered; the table dead_letters has them and the reasons.", "events", total)
	}
}

// acknowledge tells Redis that the entries are done, and waits out its outages.
// When ctx ends first the entries are delivered again, and recognised.
func (p *Pipeline) acknowledge(ctx context.Context, b *batch.Batch) {
	wait := retry.Backoff()
	for _, c := range b.Chunks {
		for {
			err := c.Group.Ack(ctx, c.Marks)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			p.Log.Warn("Acknowledging failed, trying again.", "entries", len(c.Entries), "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait.NextBackOff()):
			}
		}
	}
}
