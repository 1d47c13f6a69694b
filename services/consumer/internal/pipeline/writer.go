package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/step"
	"weir/services/consumer/internal/store"
	"weir/services/consumer/internal/stream"
	"weir/services/shared/retry"
	"weir/services/shared/rollup"
	"weir/services/shared/telemetry"
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

		// 3. Commit rows, dead letters and deltas in one transaction. Crash: all of it is
		// stored and the entries are pending; redelivered, they are recognised. The live
		// feed misses a delta until it next compares itself with the database.
		result, err := p.commitTraced(ctx, b)
		if err != nil {
			p.Log.Warn("A batch was not written in time and stays pending.", "entries", b.Entries(), "error", err)
			return nil
		}
		p.committed(b, result)
		p.Step.At(step.Committed)

		// 4. Publish when that was, and to the live feed the deltas and a few of the events.
		// Before they are acknowledged, so that whoever watches waits for one answer of Redis
		// less. Crash: all is stored and published, and the entries are pending; redelivered,
		// they are recognised.
		message = message[:0]
		if b.Deltas.Len() > 0 {
			live := rollup.Batch{XID: result.XID, Deltas: b.Deltas.List(rollup.LiveSince(start)), Sample: b.Sample()}
			message = live.AppendJSON(message)
		}
		p.publish(ctx, message)
		p.Step.At(step.Published)

		// 5. Acknowledge. Crash: done.
		p.acknowledge(ctx, b)
		p.Step.At(step.Acknowledged)
	}
}

func (p *Pipeline) publish(ctx context.Context, live []byte) {
	_, err := p.Live.Pipelined(ctx, func(r redis.Pipeliner) error {
		r.Set(ctx, rollup.Flushed(p.Channel), p.lastFlush.Load(), 0)
		if len(live) > 0 {
			r.Publish(ctx, p.Channel, live)
		}
		return nil
	})
	if err != nil {
		p.Log.Warn("Publishing to the live feed failed; it catches up from the database.", "error", err)
	}
}

// gather fills the batch: with what is there, and what arrives in a while after the first
// chunk; or, where batches have few events, in a while after the last batch, so that the
// first event after a pause is written at once. When chunks cease to come it waits no longer
// than a third of that. It returns false when there is nothing more to come.
func (p *Pipeline) gather(ctx context.Context, b *batch.Batch) bool {
	p.gathering.Lock()
	defer p.gathering.Unlock()
	var c stream.Chunk
	var ok bool
	idle := time.AfterFunc(idleAfter, func() { p.behind.Store(false) })
	select {
	case c, ok = <-p.chunks:
	case <-ctx.Done():
	}
	if !idle.Stop() {
		p.ramp = 0
	}
	if !ok {
		return false
	}
	last := p.lastBatch.Load()
	pause := wait(p.Config.BatchWait, time.Duration(p.lastTook.Load()), last)
	if last < few {
		pause -= time.Since(p.gathered)
	}
	p.ramp = min(max(rampFrom, 2*p.ramp), p.size.max)
	most, end := min(p.size.events(), p.ramp), time.Now().Add(pause)
	due := time.NewTimer(pause)
	defer due.Stop()
	defer func() { p.gathered = time.Now() }()
	for ok {
		b.Add(c)
		if b.Entries() >= most || b.Bytes() >= p.Config.BatchBytes {
			p.behind.Store(true)
			return true
		}
		due.Reset(min(time.Until(end), p.Config.BatchWait/3))
		select {
		case c, ok = <-p.chunks: // what is there comes first
			continue
		default:
		}
		select {
		case c, ok = <-p.chunks:
		case <-due.C:
			p.behind.Store(false)
			return true
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// rampFrom is how many events the first batch after a pause has at most. The next have twice as
// many each: PostgreSQL is at work while the rest of a backlog is read.
const rampFrom = 4_000

// wait is how long a batch waits to fill up: three times as long as the last transaction
// took, between a fifth of the most and the most. While there is little to do,
// transactions are short and events are stored soon; under load they grow, and so do the
// batches, of which a large one costs less an event. (At 80,000 events/s, batches of 50 ms
// took a quarter more CPU of the consumer and of PostgreSQL than those of 300 ms.)
//
// A batch of few events did not take long because of them, but because of all else that
// the machine has to do, or of a network; to wait for a few more would only add to that.
func wait(most, took time.Duration, events int64) time.Duration {
	if events < few {
		took = 0
	}
	return min(most, max(most/5, 3*took))
}

// few is what comes within the shortest wait at 10,000 events/s.
const few = 300

// commitTraced is commit in a span, when requests of the batch are traced.
func (p *Pipeline) commitTraced(ctx context.Context, b *batch.Batch) (store.Result, error) {
	if p.Tracer == nil {
		return p.commit(ctx, b)
	}
	ctx, span := telemetry.Follow(ctx, p.Tracer, b.Traces(), "commit", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "redis"), attribute.Int("messaging.batch.message_count", b.Entries())))
	defer span.End()
	result, err := p.commit(ctx, b)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.SetAttributes(attribute.Int("weir.stored", result.Inserted), attribute.Int("weir.dead", result.Dead))
	return result, err
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
			p.Log.WarnContext(ctx, "Writing a batch failed, trying again.", "entries", b.Entries(), "error", err)
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

// acknowledge tells Redis that the entries are done, partition by partition, and waits out
// its outages. When ctx ends first the entries are delivered again, and recognised.
func (p *Pipeline) acknowledge(ctx context.Context, b *batch.Batch) {
	wait := retry.Backoff()
	for _, g := range p.Groups {
		var marks []string // of all its chunks, of which a batch at a low rate has many
		for _, c := range b.Chunks {
			if c.Group.Key == g.Key {
				marks = append(marks, c.Marks...)
			}
		}
		for len(marks) > 0 {
			err := g.Ack(ctx, marks)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			p.Log.Warn("Acknowledging failed, trying again.", "stream", g.Key, "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait.NextBackOff()):
			}
		}
	}
}
