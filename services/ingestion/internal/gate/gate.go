// Package gate lets events into the streams only while the pipeline can take them:
// the consumer's backlog, its age and Redis' memory stay within set marks, and while
// Redis is away nothing waits for it.
//
// The gate measures Redis a few times a second, and counts in between what it has let
// in since. So it shuts in time, however fast events come: with one ingestion no mark
// is exceeded by more than one request, with several by what the others let in within
// one measurement.
package gate

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

const (
	// measureEvery is the mean pause between two measurements. One costs Redis some 50 µs.
	measureEvery = 200 * time.Millisecond
	// measureTimeout is after how long Redis is taken to be away.
	measureTimeout = time.Second
	// maxFlying bounds the bytes on their way to Redis, and so ingestion's memory.
	maxFlying = 64 << 20
	// memoryLow is the share of the limit below which events are accepted again.
	memoryLow = 0.9
)

// What an entry takes in Redis beside its payload, at the most: measured 17 bytes in
// the stream and 84 while pending for events of 300 bytes, plus what the allocator and
// the client's buffers add.
const (
	entryBytes = 128
	overhead   = 1.25
)

// Gate decides whether events may be let in. A nil Gate lets everything in.
type Gate struct {
	config Config
	client redis.UniversalClient
	keys   []string
	log    *slog.Logger

	mu      sync.Mutex
	reason  Reason    // why it is shut; "" is open
	since   time.Time // shut
	last    reading
	landed  load // let in and in Redis, since the last measurement began
	flying  load // let in and not in Redis yet
	refused *prometheus.CounterVec
}

// load is an amount of events.
type load struct{ events, bytes int64 }

func (l load) plus(o load) load { return load{l.events + o.events, l.bytes + o.bytes} }

func (l load) minus(o load) load { return load{l.events - o.events, l.bytes - o.bytes} }

// inRedis is the memory that they take there.
func (l load) inRedis() int64 { return int64(float64(l.bytes)*overhead) + l.events*entryBytes }

// New returns a gate before the given streams. It is shut until it is measured.
func New(c Config, client redis.UniversalClient, keys []string, log *slog.Logger, registry prometheus.Registerer) *Gate {
	g := &Gate{config: c, client: client, keys: keys, log: log, reason: Away}
	g.register(registry)
	return g
}

// Run measures until ctx ends.
func (g *Gate) Run(ctx context.Context) error {
	for {
		g.Measure(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause()):
		}
	}
}

// pause is measureEvery, half of it more or less. Under overload the gate opens with a
// measurement and shuts a moment later. Clients come back after whole seconds, as
// Retry-After has it: did the gate open at even intervals that divide a second, who was
// refused once would find it shut each time.
func pause() time.Duration { return measureEvery/2 + rand.N(measureEvery) } // #nosec G404 -- no secret

// Measure looks at Redis once, and shuts or opens the gate.
func (g *Gate) Measure(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	g.mu.Lock()
	before := g.landed
	g.mu.Unlock()
	r, err := g.read(limited)
	if ctx.Err() != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.set(Away, err)
		return
	}
	g.landed = g.landed.minus(before)
	r.drain, r.sureness = g.last.drainUntil(r)
	g.last = r
	g.set(g.judge(r), nil)
}

// judge applies the marks to a reading. Between low and high the gate stays as it is.
func (g *Gate) judge(r reading) Reason {
	c := &g.config
	switch {
	case r.events >= c.HighEvents:
		return Backlog
	case r.age >= c.HighAge:
		return Age
	case r.memory >= r.limit:
		return Memory
	case g.reason == "" || g.reason == Away:
		return ""
	case r.events <= c.LowEvents && r.age <= c.LowAge && r.memory <= r.low():
		return ""
	default:
		return g.reason
	}
}

// set changes the state, and says so.
func (g *Gate) set(reason Reason, cause error) {
	if g.reason == reason {
		return
	}
	facts := []any{"events", g.last.events, "age", g.last.age.String(), "redis_memory", g.last.memory}
	switch {
	case reason == "":
		g.log.Info("Accepting events.", facts...)
	case cause != nil:
		g.log.Warn("Refusing events.", append(facts, "reason", reason, "error", cause)...)
	default:
		g.log.Warn("Refusing events.", append(facts, "reason", reason)...)
	}
	if g.reason == "" {
		g.since = time.Now()
	}
	g.reason = reason
}

// Ask returns nil while events are let in, else a *Refused. It is cheap: ask before
// the work that a request makes.
func (g *Gate) Ask() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refuse(g.reason)
}

// Admit lets events in, or returns a *Refused. What was let in must be followed by
// Landed.
func (g *Gate) Admit(events, bytes int) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	more := load{int64(events), int64(bytes)}
	since := g.flying.plus(g.landed)
	switch {
	case g.reason != "":
	case g.last.events+since.events >= g.config.HighEvents:
		g.set(Backlog, nil)
	case g.last.memory+since.plus(more).inRedis() >= g.last.limit:
		g.set(Memory, nil)
	case g.flying.bytes > 0 && g.flying.bytes+more.bytes > maxFlying:
		return g.refuse(Busy)
	}
	if g.reason != "" {
		return g.refuse(g.reason)
	}
	g.flying = g.flying.plus(more)
	return nil
}

// Landed tells the gate what became of events that it let in. An error that means
// that Redis is away, or full, shuts it at once.
func (g *Gate) Landed(events, bytes int, err error) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	l := load{int64(events), int64(bytes)}
	g.flying, g.landed = g.flying.minus(l), g.landed.plus(l)
	switch {
	case full(err):
		g.set(Memory, err)
	case away(err):
		g.set(Away, err)
	}
}

// State returns why events are refused, or "" while they are let in.
func (g *Gate) State() Reason {
	if g == nil {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reason
}

// Refuse returns a *Refused for a reason that the caller found.
func (g *Gate) Refuse(why Reason) error {
	if g == nil {
		return &Refused{why, minWait}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refuse(why)
}

// refuse counts a refusal and returns it as an error, or nil without a reason.
func (g *Gate) refuse(why Reason) error {
	if why == "" {
		return nil
	}
	g.refused.WithLabelValues(string(why)).Inc()
	return &Refused{why, jitter(g.last.wait(why, &g.config, time.Since(g.since)))}
}

// IsRefused reports whether err is a refusal, and by how much to wait.
func IsRefused(err error) (*Refused, bool) {
	var r *Refused
	return r, errors.As(err, &r)
}
