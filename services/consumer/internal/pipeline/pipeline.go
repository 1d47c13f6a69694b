// Package pipeline is the consumer's write path:
//
//	readers (one a partition) ──chunks──▶ writers: gather ▶ decode ▶ commit ▶ publish ▶ acknowledge
//	keeper (one a partition): trims the stream and measures the backlog
//
// Everything between is bounded: chunks by their channel, a batch by its limits.
// While writing is slow the channel is full, the readers wait, and the backlog
// stays in the stream.
package pipeline

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"weir/services/consumer/internal/step"
	"weir/services/consumer/internal/store"
	"weir/services/consumer/internal/stream"
	"weir/services/shared/backlog"
	"weir/services/shared/meter"
)

// Config bounds the pipeline.
type Config struct {
	Group    string        `env:"CONSUMER_GROUP" default:"weir" help:"Consumer group that the consumers share."`
	Name     string        `env:"CONSUMER_NAME" help:"Name in the group, stable over restarts; empty means the host's name."`
	Writers  int           `env:"CONSUMER_WRITERS" default:"2" min:"1" max:"64" help:"Batches written at the same time, each on its own connection."`
	ReadSize int           `env:"CONSUMER_READ_SIZE" default:"2000" min:"1" max:"10000" help:"Most entries of one read from Redis."`
	Block    time.Duration `env:"CONSUMER_BLOCK" default:"500ms" min:"10ms" max:"1s" help:"How long one read waits for entries."`

	BatchEvents  int           `env:"BATCH_MAX_EVENTS" default:"30000" min:"1" max:"200000" help:"Most events of one transaction. Batches grow to it while there is a backlog."`
	BatchLeast   int           `env:"BATCH_MIN_EVENTS" default:"1000" min:"1" max:"200000" help:"To how many events a batch is cut at most when transactions take longer than BATCH_TARGET_TIME; with BATCH_MAX_EVENTS below it, that."`
	BatchTarget  time.Duration `env:"BATCH_TARGET_TIME" default:"1s" min:"10ms" max:"1m" help:"How long a transaction should take at most."`
	BatchBytes   int           `env:"BATCH_MAX_BYTES" default:"16777216" min:"65536" max:"268435456" help:"Most bytes of events, as JSON, of one transaction."`
	BatchWait    time.Duration `env:"BATCH_MAX_WAIT" default:"150ms" min:"0s" max:"10s" help:"How long a batch waits at most to fill up once it has an event: a fifth of it while transactions are short, more under load, but no longer than a third of it after the last event that came; the first event after a pause is written at once."`
	FlushTimeout time.Duration `env:"FLUSH_TIMEOUT" default:"20s" min:"1s" max:"10m" help:"Longest a transaction may take before its connection is taken for dead; a batch that meets this again and again gets more, up to 16 times."`

	ClaimIdle  time.Duration `env:"CLAIM_MIN_IDLE" default:"60s" min:"1s" max:"1h" help:"Entries pending this long without a sign of their consumer are taken over; above FLUSH_TIMEOUT."`
	ClaimEvery time.Duration `env:"CLAIM_INTERVAL" default:"10s" min:"100ms" max:"10m" help:"How often to look for such entries."`
	TrimEvery  time.Duration `env:"TRIM_INTERVAL" default:"1s" min:"50ms" max:"10m" help:"How often acknowledged entries are removed from the stream and the backlog is measured."`
}

// Pipeline consumes until it is told to stop.
type Pipeline struct {
	Config  Config
	Groups  []stream.Group // one a partition
	Store   *store.Store
	Live    redis.UniversalClient
	Channel string // of the live feed
	Log     *slog.Logger
	Grace   time.Duration // how long what was read may take to be written after the end
	Tracer  trace.Tracer  // of the transactions; nil without traces
	Step    step.Hook     // for tests

	Uncounted bool // without rollups, for the benchmark that measures what they cost

	metrics   *metrics
	breaker   *gobreaker.CircuitBreaker[store.Result]
	chunks    chan stream.Chunk
	size      *size      // of batches
	gathering sync.Mutex // held by the writer that gathers: batches fill one after the other
	gathered  time.Time  // when the last batch was; under gathering
	ramp      int        // how many events it could have at most, as batches grow after a pause; under gathering

	paused    atomic.Bool
	opening   signal       // that the gate may have opened
	behind    atomic.Bool  // whether the last batch was full, see GiveWay
	rate      meter.Meter  // of entries done with
	lastBatch atomic.Int64 // entries
	lastTook  atomic.Int64 // of the last transaction, nanoseconds

	lastFlush  atomic.Int64 // Unix milliseconds; 0 before the first
	deadTold   atomic.Int64 // when the log last told of dead letters, Unix milliseconds
	deadUntold atomic.Int64 // how many it has not told of
	backlogs   []atomic.Pointer[backlog.Backlog]
}

// Breaker settings: it opens when every writer failed a few times in a row, and
// lets one attempt through every two seconds.
const (
	breakerFailures = 3
	breakerPause    = 2 * time.Second
)

// Init prepares the pipeline to run, and registers its metrics.
func (p *Pipeline) Init(registry prometheus.Registerer) {
	p.metrics = newMetrics(registry)
	p.backlogs = make([]atomic.Pointer[backlog.Backlog], len(p.Groups))
	// A whole batch is read ahead: without it writers wait for Redis half of the time
	// (measured by draining: 1.4 times the rate).
	p.chunks = make(chan stream.Chunk, 1+p.Config.BatchEvents/p.Config.ReadSize)
	p.size = newSize(min(p.Config.BatchLeast, p.Config.BatchEvents), p.Config.BatchEvents, p.Config.BatchTarget)
	p.metrics.batchLimit.Set(float64(p.size.events()))
	p.breaker = gobreaker.NewCircuitBreaker[store.Result](gobreaker.Settings{
		Name: "postgres", MaxRequests: 1, Timeout: breakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			p.Log.Warn("The circuit breaker changed its state.", "from", from.String(), "to", to.String())
			p.metrics.breaker.Set(float64(to))
			p.opening.signal()
		},
	})
}

// Run consumes until ctx ends. Then it stops reading, writes and acknowledges what
// was read, and returns; what cannot be written within Grace stays pending for the
// next consumer.
func (p *Pipeline) Run(ctx context.Context) error {
	work, cancel := afterGrace(ctx, p.Grace)
	defer cancel()

	keepers, _ := errgroup.WithContext(ctx)
	for i, g := range p.Groups {
		keepers.Go(func() error { return p.keep(ctx, i, g) })
	}
	keepers.Go(func() error { return p.fence(ctx) })
	var writers errgroup.Group
	for range p.Config.Writers {
		writers.Go(func() error { return p.write(work) })
	}
	var readers errgroup.Group
	for _, g := range p.Groups {
		r := stream.Reader{
			Group: g, Consumer: p.Config.Name, Log: p.Log,
			Count: int64(p.Config.ReadSize), Block: p.Config.Block,
			ClaimEvery: p.Config.ClaimEvery, ClaimIdle: p.Config.ClaimIdle,
			Gate: p.gate, Abandon: work.Done(), InVain: func(entries int) { p.metrics.inVain.Add(float64(entries)) },
		}
		readers.Go(func() error { return r.Run(ctx, p.chunks) })
	}

	// The stages end in the order of the flow, so that each empties the one before.
	err := readers.Wait()
	close(p.chunks)
	if e := writers.Wait(); err == nil {
		err = e
	}
	if e := keepers.Wait(); err == nil {
		err = e
	}
	return err
}

// afterGrace returns a context that ends a while after ctx does.
func afterGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	return work, func() { stop(); cancel() }
}
