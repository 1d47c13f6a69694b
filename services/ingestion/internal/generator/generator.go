// Package generator publishes made-up events at a set rate.
package generator

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/loadgen"
	"weir/services/ingestion/internal/publish"
	"weir/services/shared/event"
	"weir/services/shared/retry"
)

// Config says what to generate.
type Config struct {
	Rate    float64 `env:"GENERATOR_RATE" default:"0" min:"0" max:"1000000" help:"Events per second that ingestion makes up; 0 switches the generator off."`
	Profile string  `env:"GENERATOR_PROFILE" default:"web-shop" help:"What the made-up traffic is like: web-shop, launch-day, mobile-app or back-fill."`
	Seed    int64   `env:"GENERATOR_SEED" default:"0" min:"0" help:"Seed; the same one makes the same traffic. 0 takes the clock."`
	Count   int64   `env:"GENERATOR_COUNT" default:"0" min:"0" help:"Stop after so many events; 0 goes on."`
}

// Validate implements config.Validator.
func (c Config) Validate() error {
	if names := loadgen.Names(); !slices.Contains(names, c.Profile) {
		return fmt.Errorf("GENERATOR_PROFILE must be one of: %s", strings.Join(names, ", "))
	}
	return nil
}

// Generator publishes the events of a loadgen.Generator when they are due. It is
// open loop: a slow Redis makes events late, and the lateness is recorded, but it
// does not change what is generated.
type Generator struct {
	Config     Config
	Publisher  *publish.Publisher
	Partitions int
	Log        *slog.Logger

	sent     atomic.Int64
	items    *prometheus.CounterVec
	lateness prometheus.Histogram
}

const (
	// tick is how often due events are sent: short enough to be even, long enough
	// that at high rates a tick fills a pipeline.
	tick = 5 * time.Millisecond
	// most bounds what is sent at once when the generator is behind.
	most = 2000
)

// New returns a Generator whose metrics are in the registry.
func New(c Config, p *publish.Publisher, partitions int, log *slog.Logger, registry prometheus.Registerer) *Generator {
	g := &Generator{
		Config: c, Publisher: p, Partitions: partitions, Log: log,
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_ingestion_generated_events_total", Help: "Made-up events published, by kind: fresh, late, duplicate or malformed.",
		}, []string{"kind"}),
		lateness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_ingestion_generator_lateness_seconds", Help: "Time from when a made-up event was due until Redis had it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16), NativeHistogramBucketFactor: 1.1,
		}),
	}
	registry.MustRegister(g.items, g.lateness)
	return g
}

// Sent returns how many events have been published.
func (g *Generator) Sent() int64 { return g.sent.Load() }

// Run generates until ctx ends or the count is reached.
func (g *Generator) Run(ctx context.Context) error {
	if g.Config.Rate == 0 {
		return nil
	}
	profile, err := loadgen.Builtin(g.Config.Profile)
	if err != nil {
		return fmt.Errorf("read profile: %w", err)
	}
	profile.Shape = loadgen.Constant(g.Config.Rate)
	profile.Volume = loadgen.Volume{Count: g.Config.Count}
	seed := uint64(g.Config.Seed)
	start := time.Now()
	if seed == 0 {
		seed = uint64(start.UnixNano())
	}
	source, err := loadgen.New(profile, seed, start)
	if err != nil {
		return fmt.Errorf("make generator: %w", err)
	}
	g.Log.Info("Generating events.", "profile", g.Config.Profile, "rate", g.Config.Rate, "seed", seed)

	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	b := due{}
	item, more := source.Next(nil)
	for more {
		for more && len(b.messages) < most && item.At <= time.Since(start) {
			b.add(item, g.Partitions)
			item, more = source.Next(nil)
		}
		if len(b.messages) > 0 {
			if !g.publish(ctx, start, &b) {
				return nil
			}
			if len(b.messages) == most {
				b.reset()
				continue // behind: no pause
			}
			b.reset()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	if len(b.messages) > 0 {
		g.publish(ctx, start, &b)
	}
	g.Log.Info("The generator has reached its count.", "events", g.Sent())
	return nil
}

// due are items on their way.
type due struct {
	messages []publish.Message
	at       []time.Duration
	kinds    [4]int
}

func (d *due) add(item loadgen.Item, partitions int) {
	d.messages = append(d.messages, publish.Message{Partition: event.Partition(item.Actor, partitions), Payload: string(item.Payload)})
	d.at = append(d.at, item.At)
	d.kinds[item.Kind]++
}

func (d *due) reset() {
	clear(d.messages)
	*d = due{messages: d.messages[:0], at: d.at[:0]}
}

// publish sends what is due, and again while Redis is away: the events keep their
// ids, so none is stored twice. It returns false when ctx ended first.
func (g *Generator) publish(ctx context.Context, start time.Time, b *due) bool {
	wait := retry.Backoff()
	for {
		err := g.Publisher.Publish(ctx, b.messages)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return false
		}
		g.Log.Warn("Publishing generated events failed, trying again.", "events", len(b.messages), "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait.NextBackOff()):
		}
	}
	now := time.Since(start)
	for _, at := range b.at {
		g.lateness.Observe((now - at).Seconds())
	}
	for kind, n := range b.kinds {
		g.items.WithLabelValues(loadgen.Kind(kind).String()).Add(float64(n))
	}
	g.sent.Add(int64(len(b.messages)))
	return true
}
