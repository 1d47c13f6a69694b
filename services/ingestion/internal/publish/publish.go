// Package publish adds events to the Redis Streams.
package publish

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"weir/services/ingestion/internal/gate"
	"weir/services/shared/event"
	"weir/services/shared/redisclient"
	"weir/services/shared/telemetry"
)

// Config says when an event counts as accepted.
type Config struct {
	Durability string `env:"INGESTION_DURABILITY" default:"memory" oneof:"memory replica fsync" help:"When an event counts as accepted: memory, once Redis has it; replica, once a replica of Redis has it too (WAIT), so that it outlives a failover; fsync, once Redis has it on disk (WAITAOF: Redis 7.2 or later with appendonly yes; fastest with appendfsync always, as everysec makes each request wait for up to a second)."`
}

// Values of Durability.
const (
	memory  = "memory"
	replica = "replica"
	fsync   = "fsync"
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
	// worthwhile is how many entries are sent while another round trip is under way.
	// Fewer wait for its end and share the next, as small segments do in Nagle's
	// algorithm (RFC 896); on an idle connection nothing waits. With 64 clients that send
	// single events this saves Redis a fifth of its CPU.
	worthwhile = 100
	// waiting bounds the requests that wait for a flusher. The gate bounds their bytes.
	waiting = 16_384
	// timeout bounds a round trip.
	timeout = 3 * time.Second
	// confirmTimeout is how long WAIT and WAITAOF wait, within the timeout.
	confirmTimeout = 2500 * time.Millisecond
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
	keys       []any // strings, as arguments of a command
	durability string
	gate       *gate.Gate
	queue      chan *request

	turn     sync.Mutex    // of the flusher that gathers
	underway atomic.Int64  // round trips
	landed   chan struct{} // tells who gathers that one has ended

	published, failed prometheus.Counter
	seconds           prometheus.Histogram
}

type request struct {
	ctx      context.Context
	messages []Message
	bytes    int
	trace    string // of the request, for its entries; "" without
	done     chan error
}

// New returns a Publisher to the given streams, one a partition. What the gate
// refuses is not published; nil lets everything in.
func New(c Config, client redis.UniversalClient, keys []string, g *gate.Gate, registry prometheus.Registerer) *Publisher {
	p := &Publisher{
		client: client, durability: c.Durability, gate: g, queue: make(chan *request, waiting),
		landed: make(chan struct{}, 1),
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_ingestion_published_events_total", Help: "Events that Redis has acknowledged."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_ingestion_publish_failures_total", Help: "Events that Redis did not acknowledge; their senders were told."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_ingestion_publish_duration_seconds", Help: "Time of one round trip to Redis.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 15), NativeHistogramBucketFactor: 1.1}),
	}
	for _, key := range keys {
		p.keys = append(p.keys, key)
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
	r := &request{ctx: ctx, messages: messages, trace: telemetry.Traceparent(ctx), done: make(chan error, 1)}
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
			for f.gather(ctx) {
				f.flush(context.WithoutCancel(ctx))
			}
			return nil
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

// flusher makes one round trip after the other. What it needs for one is used again for
// the next: only a payload's interface is allocated for each event.
type flusher struct {
	*Publisher
	group    []*request
	commands []redis.Cmder
	args     [][]any       // of the commands
	round    []redis.Cmder // what is sent, commands or not
}

// command returns the one that adds m: the i-th, or one of its own for a message that is
// traced.
func (f *flusher) command(ctx context.Context, i int, m *Message, trace string) redis.Cmder {
	if trace != "" {
		return redis.NewStringCmd(ctx, "xadd", f.keys[m.Partition], "*", event.Field, m.Payload, event.TraceField, trace)
	}
	if i == len(f.args) {
		f.args = append(f.args, []any{"xadd", nil, "*", event.Field, nil})
		f.commands = append(f.commands, redis.NewStringCmd(ctx, f.args[i]...)) // keeps the slice itself
	}
	f.args[i][1], f.args[i][4] = f.keys[m.Partition], m.Payload
	f.commands[i].SetErr(nil)
	return f.commands[i]
}

// gather waits for requests and takes a pipeline's worth; it reports false once ctx has
// ended and none are left.
func (f *flusher) gather(ctx context.Context) bool {
	f.turn.Lock()
	defer f.turn.Unlock()
	f.group = f.group[:0]
	for n := 0; n < f.pipeline(); {
		r := f.next(ctx, n)
		if r == nil {
			break
		}
		f.group = append(f.group, r)
		n += len(r.messages)
	}
	f.underway.Add(1)
	return len(f.group) > 0
}

// next returns the request to send together with n entries, or nil to send those now.
func (f *flusher) next(ctx context.Context, n int) *request {
	for {
		select {
		case r := <-f.queue:
			return r
		default:
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case n == 0:
			select {
			case r := <-f.queue:
				return r
			case <-ctx.Done():
			}
		case n < worthwhile && f.underway.Load() > 0 && f.durability != fsync: // an fsync may take a second: two would be too much
			select {
			case r := <-f.queue:
				return r
			case <-f.landed:
			}
		default:
			return nil
		}
	}
}

// land notes that a round trip has ended.
func (f *flusher) land() {
	f.underway.Add(-1)
	select {
	case f.landed <- struct{}{}:
	default:
	}
}

// flush publishes what was gathered.
func (f *flusher) flush(ctx context.Context) {
	f.group = slices.DeleteFunc(f.group, func(r *request) bool { return !f.expects(r) })
	// A request that is larger than a pipeline takes several, unless each would have
	// to wait for the disk.
	size := f.pipeline()
	if f.durability == fsync {
		size = 1 << 30
	}
	n := 0
	for _, r := range f.group {
		n += len(r.messages)
	}
	f.round = slices.Grow(f.round[:0], n)
	n = 0 // of the commands that are used again
	for _, r := range f.group {
		for i := range r.messages {
			f.round = append(f.round, f.command(ctx, n, &r.messages[i], r.trace))
			if r.trace == "" {
				n++
			}
		}
	}
	for commands := f.round; len(commands) > 0; {
		n := min(size, len(commands))
		f.send(ctx, commands[:n])
		err := firstError(commands[:n])
		if err == nil {
			err = f.group[len(f.group)-1].ctx.Err()
		}
		if commands = commands[n:]; err != nil {
			// What is left is one request's, the last one's, whose sender is told or has gone.
			// To try it all with a Redis that hangs could take minutes, and a stop as long.
			for _, c := range commands {
				c.SetErr(err)
			}
			break
		}
	}
	f.land()
	commands := f.round
	for _, r := range f.group {
		n := len(r.messages)
		f.answer(r, firstError(commands[:n]))
		commands = commands[n:]
	}
	clear(f.group)
	clear(f.round)
	f.forget(n)
}

// forget lets go of what n commands were to add, and of commands that only a large
// request needed.
func (f *flusher) forget(n int) {
	for i := range n {
		f.args[i][4] = nil
	}
	if most := 2 * f.pipeline(); n > most {
		f.args, f.commands = slices.Clone(f.args[:most]), slices.Clone(f.commands[:most])
	}
	if cap(f.round) > 2*f.pipeline() {
		f.round = nil
	}
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
	if f.durability == fsync || f.durability == replica {
		var nodes sync.WaitGroup
		for node, part := range f.byNode(ctx, commands) {
			nodes.Go(func() { f.sendAndConfirm(ctx, node, part) })
		}
		nodes.Wait()
	} else {
		pipe := f.client.Pipeline()
		_ = pipe.BatchProcess(ctx, commands...) // only queues
		_, _ = pipe.Exec(ctx)                   // each command has its own error
	}
	f.seconds.Observe(time.Since(start).Seconds())
}

// byNode sorts commands by the server that they go to: a cluster has several. Those of
// which it is not known have the error.
func (f *flusher) byNode(ctx context.Context, commands []redis.Cmder) map[redis.UniversalClient][]redis.Cmder {
	if _, cluster := f.client.(*redis.ClusterClient); !cluster {
		return map[redis.UniversalClient][]redis.Cmder{f.client: commands}
	}
	nodes := map[redis.UniversalClient][]redis.Cmder{}
	for _, c := range commands {
		key, _ := c.Args()[1].(string)
		node, err := redisclient.Node(ctx, f.client, key)
		if err != nil {
			c.SetErr(err)
			continue
		}
		nodes[node] = append(nodes[node], c)
	}
	return nodes
}

// sendAndConfirm waits for the confirmation on the connection that wrote: Redis counts by
// connection.
func (f *flusher) sendAndConfirm(ctx context.Context, node redis.UniversalClient, commands []redis.Cmder) {
	pipe := node.Pipeline()
	_ = pipe.BatchProcess(ctx, commands...) // only queues
	confirmation := f.confirmation(ctx)
	_ = pipe.Process(ctx, confirmation)
	_, _ = pipe.Exec(ctx) // each command has its own error
	err := confirmed(confirmation)
	for _, c := range commands {
		if c.Err() == nil {
			c.SetErr(err)
		}
	}
	if firstError(commands) != nil {
		redisclient.Moved(ctx, f.client)
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
