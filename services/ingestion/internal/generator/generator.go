// Package generator publishes made-up events as a profile says, under the control of
// an API.
//
// Read run.go for how events are sent on time, stream.go for what happens when they
// are refused, and statistics.go for what is recorded.
package generator

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/loadgen"
	"weir/services/ingestion/internal/publish"
)

// Generator runs one run after the other, as it is told.
type Generator struct {
	config     Config
	publisher  *publish.Publisher
	partitions int
	log        *slog.Logger
	metrics    *metrics
	begin      chan *Run // from Start to Run

	control sync.Mutex // one change at a time

	mu       sync.Mutex
	initial  Settings
	settings Settings
	run      *Run          // under way, or nil
	seed     int64         // of the run
	ended    chan struct{} // closed when it has ended
	last     *Statistics   // of it, or of the one before
	started  time.Time
}

// New returns a Generator whose metrics are in the registry.
func New(c Config, p *publish.Publisher, partitions int, log *slog.Logger, registry prometheus.Registerer) (*Generator, error) {
	s, err := newSettings(c)
	if err != nil {
		return nil, err
	}
	return &Generator{
		config: c, publisher: p, partitions: partitions, log: log, metrics: newMetrics(registry),
		begin: make(chan *Run, 1), initial: s, settings: s, last: NewStatistics(),
	}, nil
}

// Run generates until ctx ends: at once when a rate is configured, else when told.
func (g *Generator) Run(ctx context.Context) error {
	if g.config.Rate > 0 {
		if err := g.Start(); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-g.begin:
			err := r.Do(ctx)
			g.mu.Lock()
			g.run = nil
			close(g.ended)
			g.mu.Unlock()
			if err != nil {
				return fmt.Errorf("generate: %w", err)
			}
		}
	}
}

// Start begins a run, with statistics from zero. While one is under way it changes
// nothing.
func (g *Generator) Start() error {
	g.control.Lock()
	defer g.control.Unlock()
	return g.start()
}

func (g *Generator) start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.run != nil {
		return nil
	}
	now, seed := time.Now(), g.settings.Seed
	if seed == 0 {
		seed = now.UnixMicro() // a number that JavaScript can read
	}
	source, err := loadgen.New(g.settings.profile, uint64(seed), now)
	if err != nil {
		return fmt.Errorf("make generator: %w", err)
	}
	stream := &Stream{Publisher: g.publisher, Log: g.log, Overload: func() string {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.settings.Overload
	}}
	g.last = NewStatistics()
	g.last.metrics = g.metrics
	g.run = &Run{
		Source: source, Start: now, Partitions: g.partitions, Send: stream.Send, Statistics: g.last,
		resident: true, halt: make(chan struct{}),
	}
	g.seed, g.started, g.ended = seed, now.UTC(), make(chan struct{})
	g.begin <- g.run // there is room: the run before has ended
	g.log.Info("Generating events.", "profile", g.settings.Profile, "rate", g.settings.Shape.Rate, "seed", seed)
	return nil
}

// Stop ends the run and returns once what was on its way has arrived. Without a run
// it changes nothing.
func (g *Generator) Stop(ctx context.Context) error {
	g.control.Lock()
	defer g.control.Unlock()
	return g.stop(ctx)
}

func (g *Generator) stop(ctx context.Context) error {
	g.mu.Lock()
	r, ended := g.run, g.ended
	g.mu.Unlock()
	if r == nil {
		return nil
	}
	select {
	case <-r.halt: // told before, by somebody who did not wait for it
	default:
		close(r.halt)
	}
	select {
	case <-ended:
		g.log.Info("Generating stopped.", "published", r.Statistics.Figures().Published)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reset ends the run, and brings back the settings that the process began with and
// statistics that are zero.
func (g *Generator) Reset(ctx context.Context) error {
	g.control.Lock()
	defer g.control.Unlock()
	if err := g.stop(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settings, g.last, g.started, g.seed = g.initial, NewStatistics(), time.Time{}, 0
	return nil
}

// ErrWrong wraps what is wrong with a change.
type ErrWrong struct{ Cause error }

func (e ErrWrong) Error() string { return e.Cause.Error() }

// Change changes the settings, of the run under way too: at once where the sequence
// of events allows it; another profile, seed or kind of
// arrivals begins a new run. An ErrWrong means
// that nothing was changed.
func (g *Generator) Change(ctx context.Context, c Change) error {
	g.control.Lock()
	defer g.control.Unlock()
	g.mu.Lock()
	next, err := g.settings.apply(c)
	if err != nil {
		g.mu.Unlock()
		return ErrWrong{err}
	}
	g.settings = next
	r := g.run
	g.mu.Unlock()
	switch {
	case r == nil:
		return nil
	case c.Profile != nil || c.Seed != nil || c.Arrivals != nil:
		if err := g.stop(ctx); err != nil {
			return err
		}
		return g.start()
	default:
		return r.change(c, next)
	}
}

// change applies a change that is known to be valid to the run under way.
func (r *Run) change(c Change, s Settings) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.Start)
	if c.Volume != nil {
		if err := r.Source.SetVolume(s.Volume); err != nil {
			return err
		}
		if r.finished {
			r.Source.Skip(now) // it has rested, and has nothing to make up for
		}
	}
	if c.Rate != nil || c.Shape != nil {
		if err := r.Source.SetShapeAt(s.Shape, now); err != nil {
			return err
		}
	}
	if c.Journey != nil {
		if err := r.Source.SetJourney(s.Journey); err != nil {
			return err
		}
	}
	if c.Faults != nil {
		return r.Source.SetFaults(s.Faults)
	}
	return nil
}
