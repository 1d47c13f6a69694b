// Package publish adds events to the Redis Streams.
package publish

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"weir/services/ingestion/internal/gate"
	"weir/services/shared/event"
)

// Config says when an event counts as accepted.
type Config struct {
	Durability string `env:"INGESTION_DURABILITY" default:"memory" oneof:"memory fsync" help:"When an event counts as accepted: memory, once Redis has it; fsync, once Redis has it on disk (WAITAOF: Redis 7.2 or later with appendonly yes; fastest with appendfsync always, as everysec makes each request wait for up to a second)."`
}

const (
	memory = "memory"
	fsync  = "fsync"
)

const (
	// pipeline is how many entries go to Redis in one round trip; beyond a few
	// hundred nothing is gained (measured: 300k to 480k entries/s from 100 to 500).
	pipeline = 500
	// pipelineFsync is the same when a round trip lasts as long as an fsync, up to a
	// second: then all that came meanwhile should share the next.
	pipelineFsync = 10_000
	// flushers is how many round trips are under way at once: while one waits, the
	// next is being made.
	flushers = 4
	// waiting bounds the requests that wait for a flusher. The gate bounds their bytes.
	waiting = 16_384
	// timeout bounds a round trip.
	timeout = 3 * time.Second
	// fsyncTimeout is how long WAITAOF waits, within the timeout.
	fsyncTimeout = 2500 * time.Millisecond
)

// Message is one event on its way.
type Message struct {
	Partition int
	Payload   string
}

// Publisher publishes for many callers at once: what arrives while Redis is busy
// shares the next round trip (group commit), so many small requests stay cheap.
type Publisher struct {
	client     redis.UniversalClient
	keys       []string
	durability string
	gate       *gate.Gate
	queue      chan *request

	published, failed prometheus.Counter
	seconds           prometheus.Histogram
}

type request struct {
	ctx      context.Context
	messages []Message
	bytes    int
	done     chan error
}

// New returns a Publisher to the given streams, one a partition. What the gate
// refuses is not published; nil lets everything in.
func New(c Config, client redis.UniversalClient, keys []string, g *gate.Gate, registry prometheus.Registerer) *Publisher {
	p := &Publisher{
		client: client, keys: keys, durability: c.Durability, gate: g, queue: make(chan *request, waiting),
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_ingestion_published_events_total", Help: "Events that Redis has acknowledged."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_ingestion_publish_failures_total", Help: "Events that Redis did not acknowledge; their senders were told."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_ingestion_publish_duration_seconds", Help: "Time of one round trip to Redis.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 15), NativeHistogramBucketFactor: 1.1}),
	}
	registry.MustRegister(p.published, p.failed, p.seconds)
	return p
}

// Ready returns the *gate.Refused that Publish would return now, or nil: ask before
// work that would be in vain.
func (p *Publisher) Ready() error { return p.gate.Ask() }

// Open reports whether events are let in.
func (p *Publisher) Open() bool { return p.gate.State() == "" }

// Publish returns once Redis has every message, as durably as configured, or with
// the error that kept it from having one. A *gate.Refused means that none was let in.
// After any other error some may be in the stream and some not: sending all again is
// safe when their ids stay the same.
func (p *Publisher) Publish(ctx context.Context, messages []Message) error {
	if len(messages) == 0 {
		return nil
	}
	r := &request{ctx: ctx, messages: messages, done: make(chan error, 1)}
	for i := range messages {
		r.bytes += len(messages[i].Payload)
	}
	if err := p.gate.Admit(len(messages), r.bytes); err != nil {
		return err
	}
	select {
	case p.queue <- r:
	default:
		p.gate.Landed(len(messages), r.bytes, nil)
		return p.gate.Refuse(gate.Busy)
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run flushes until ctx ends; then it flushes what is queued and returns.
func (p *Publisher) Run(ctx context.Context) error {
	var g errgroup.Group
	for range flushers {
		g.Go(func() error {
			f := &flusher{Publisher: p}
			for {
				select {
				case r := <-p.queue:
					f.flush(context.WithoutCancel(ctx), r)
				case <-ctx.Done():
					for {
						select {
						case r := <-p.queue:
							f.flush(context.WithoutCancel(ctx), r)
						default:
							return nil
						}
					}
				}
			}
		})
	}
	return g.Wait()
}

// pipeline is how many entries share a round trip.
func (p *Publisher) pipeline() int {
	if p.durability == fsync {
		return pipelineFsync
	}
	return pipeline
}

// flusher makes one round trip after the other. Its slices are used again.
type flusher struct {
	*Publisher
	group    []*request
	commands []redis.Cmder
}

// flush publishes r and the requests that wait behind it, up to a pipeline's worth.
func (f *flusher) flush(ctx context.Context, r *request) {
	f.group = f.group[:0]
	for n := 0; r != nil; {
		if f.expects(r) {
			f.group = append(f.group, r)
			n += len(r.messages)
		}
		if r = nil; n < f.pipeline() {
			select {
			case r = <-f.queue:
			default:
			}
		}
	}
	// A request that is larger than a pipeline takes several, unless each would have
	// to wait for the disk.
	size := f.pipeline()
	if f.durability == fsync {
		size = 1 << 30
	}
	f.commands = f.commands[:0]
	for _, r := range f.group {
		for i := range r.messages {
			m := &r.messages[i]
			f.commands = append(f.commands, redis.NewStringCmd(ctx, "xadd", f.keys[m.Partition], "*", event.Field, m.Payload))
		}
	}
	for commands := f.commands; len(commands) > 0; {
		n := min(size, len(commands))
		f.send(ctx, commands[:n])
		commands = commands[n:]
	}
	commands := f.commands
	for _, r := range f.group {
		n := len(r.messages)
		f.answer(r, firstError(commands[:n]))
		commands = commands[n:]
	}
	clear(f.group)
	clear(f.commands)
}

// expects reports whether somebody still waits for r and Redis is there to take it;
// else it answers r.
func (f *flusher) expects(r *request) bool {
	switch {
	case r.ctx.Err() != nil: // gave up while it waited
		f.answer(r, r.ctx.Err())
	case f.gate.State() == gate.Away: // what was let in before fails at once
		f.answer(r, f.gate.Refuse(gate.Away))
	default:
		return true
	}
	return false
}

func (f *flusher) answer(r *request, err error) {
	var cause error
	if _, refused := gate.IsRefused(err); !refused && r.ctx.Err() == nil {
		cause = err
	}
	f.gate.Landed(len(r.messages), r.bytes, cause)
	if err != nil {
		f.failed.Add(float64(len(r.messages)))
	} else {
		f.published.Add(float64(len(r.messages)))
	}
	r.done <- err
}

// send makes one round trip; each command has its error then.
func (f *flusher) send(ctx context.Context, commands []redis.Cmder) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	pipe := f.client.Pipeline()
	_ = pipe.BatchProcess(ctx, commands...) // only queues
	var synced *redis.IntSliceCmd
	if f.durability == fsync {
		// On the same connection as what it waits for: Redis counts by connection.
		synced = waitAOF(ctx)
		_ = pipe.Process(ctx, synced)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	f.seconds.Observe(time.Since(start).Seconds())
	if synced == nil {
		return
	}
	if err := onDisk(synced); err != nil {
		for _, c := range commands {
			if c.Err() == nil {
				c.SetErr(err)
			}
		}
	}
}

func firstError(commands []redis.Cmder) error {
	for _, c := range commands {
		if err := c.Err(); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	return nil
}
