package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/bench/internal/report"
	"weir/e2e/harness/defaults"
	"weir/loadgen"
	"weir/openapi/client/ingestion"
	"weir/services/shared/event"
)

// ledger knows the id of every event that was published: the probes' by heart, the
// generator's by making them again, as the same seed and start give the same events.
type ledger struct {
	mu     sync.Mutex
	loads  []loaded
	probes map[event.UUID]bool // whether it was accepted
}

type loaded struct {
	Load
	seed               uint64
	start              time.Time
	offered, published int64
}

func (l *ledger) begin(load Load, s ingestion.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loads = append(l.loads, loaded{Load: load, seed: uint64(*s.RunSeed), start: *s.StartedAt}) // a run that was started has both
}

func (l *ledger) end(s ingestion.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := &l.loads[len(l.loads)-1]
	last.offered, last.published = s.Statistics.Offered, s.Statistics.Published
}

func (l *ledger) probe(id event.UUID, accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.probes == nil {
		l.probes = map[event.UUID]bool{}
	}
	l.probes[id] = accepted
}

// Drain waits until everything is written and acknowledged.
func (r *Rig) Drain(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := r.Backlog(ctx); err == nil && b.Events == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Fold waits until the counts of all that was written are folded, which after a backlog
// takes consumers a while more; until then questions read the log of them, too.
func (r *Rig) Fold(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Second) // each look reads the logs' pages
	defer tick.Stop()
	for {
		var left bool
		err := r.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM rollup_deltas) OR EXISTS (SELECT FROM rollup_user_deltas)`).Scan(&left)
		if err != nil || !left {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.Failed.Done():
			return context.Cause(r.Failed)
		case <-tick.C:
		}
	}
}

// window is how many of the generator's events are compared at a time: 16 bytes each.
const window = 4_000_000

// Verify compares the ids of all events with those in the database, and the rollups
// with the rows. Call it when all is drained and no load is on.
func (r *Rig) Verify(ctx context.Context) (c report.Counts, err error) {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	var dead map[[16]byte]bool
	if c.DeadLettered, dead, err = DeadLetters(ctx, r.Pool); err != nil {
		return c, err
	}
	if err := r.verifyProbes(ctx, dead, &c); err != nil {
		return c, err
	}
	for _, l := range r.ledger.loads {
		if err := r.verifyLoad(ctx, l, dead, &c); err != nil {
			return c, err
		}
	}
	// Whatever else there is was never published.
	var rows int64
	if err := r.Pool.QueryRow(ctx, `SELECT count(*) FROM events`).Scan(&rows); err != nil {
		return c, fmt.Errorf("count the rows: %w", err)
	}
	c.Foreign += rows - c.Stored - c.Duplicated - c.Foreign
	c.RollupsEqual, err = RollupsEqual(ctx, r.binary("weir-consumer"), r.env, r.Pool)
	return c, err
}

func (r *Rig) verifyProbes(ctx context.Context, dead map[[16]byte]bool, c *report.Counts) error {
	seen := make(map[event.UUID]int, len(r.ledger.probes))
	rows, err := r.Pool.Query(ctx, `SELECT id FROM events WHERE source = $1`, ProbeSource)
	if err != nil {
		return fmt.Errorf("read the probes: %w", err)
	}
	var id [16]byte
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { seen[id]++; return nil }); err != nil {
		return fmt.Errorf("read the probes: %w", err)
	}
	for id, accepted := range r.ledger.probes {
		n := int64(seen[id])
		arrived := n > 0 || dead[id]
		// One without an answer may have arrived, and counts as published if it has.
		if accepted || arrived {
			c.Published++
		}
		if accepted && !arrived {
			c.Lost++
		}
		c.Stored += min(n, 1)
		c.Duplicated += max(0, n-1)
	}
	return nil
}

// verifyLoad makes a load's events again and looks for each. Of a load of which a part
// was refused it is not known which; so those that arrived, as rows or dead letters, must
// be of those offered, and as many as were published.
func (r *Rig) verifyLoad(ctx context.Context, l loaded, dead map[[16]byte]bool, c *report.Counts) error {
	if l.offered == 0 {
		return nil // a generator of none would not end: a volume of zero is no limit
	}
	g, err := l.generator()
	if err != nil {
		return err
	}
	arrived := int64(0)
	var buffer []byte
	var next *event.UUID // the first of the next window
	from := l.start.Add(-time.Second)
	for more := true; more; {
		var ids [][16]byte
		if next != nil {
			ids = append(ids, *next)
		}
		to := time.Time{}
		for {
			var item loadgen.Item
			if item, more = g.Next(buffer[:0]); !more {
				break
			}
			buffer = item.Payload
			// Windows meet between two milliseconds, which ids begin with.
			if len(ids) >= window && millisecond(item.ID) != millisecond(ids[len(ids)-1]) {
				next, to = &item.ID, time.UnixMilli(millisecond(item.ID))
				break
			}
			ids = append(ids, item.ID)
		}
		if len(ids) == 0 {
			break
		}
		if !more {
			to = time.UnixMilli(millisecond(ids[len(ids)-1]) + 1)
		}
		found, err := r.compare(ctx, ids, dead, from, to)
		if err != nil {
			return err
		}
		arrived, from = arrived+found.Published-found.Lost, to
		c.Stored += found.Stored
		c.Duplicated += found.Duplicated
		c.Foreign += found.Foreign
	}
	// What was sent when an outage or the end came may have arrived without a word.
	published := max(l.published, min(arrived, l.offered))
	c.Published += published
	c.Lost += published - arrived
	return nil
}

// generator makes the load's events again.
func (l *loaded) generator() (*loadgen.Generator, error) {
	profile, err := loadgen.Builtin("web-shop")
	if err != nil {
		return nil, err
	}
	profile.Shape, profile.Volume = loadgen.Constant(l.Rate), loadgen.Volume{Count: l.offered}
	profile.Faults = loadgen.Faults{}
	profile.Arrivals = loadgen.Arrivals("poisson")
	if l.Even {
		profile.Arrivals = loadgen.Arrivals("even")
	}
	return loadgen.New(profile, l.seed, l.start)
}

// compare looks for ids among the generator's events of a span of time.
func (r *Rig) compare(ctx context.Context, ids [][16]byte, dead map[[16]byte]bool, from, to time.Time) (c report.Counts, err error) {
	rows, err := r.Pool.Query(ctx, `SELECT id FROM events WHERE time >= $1 AND time < $2 AND source <> $3`, from, to, ProbeSource)
	if err != nil {
		return c, fmt.Errorf("read the ids: %w", err)
	}
	return Compare(rows, ids, dead)
}

// Compare looks for the ids of what was published in rows of one id each; it sorts them.
// Stored are those that are there, lost those that are neither there nor dead, duplicated
// the rows that have one again, foreign those that have another.
func Compare(rows pgx.Rows, ids [][16]byte, dead map[[16]byte]bool) (c report.Counts, err error) {
	compare := func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(ids, compare)
	seen := make([]bool, len(ids))
	var id [16]byte
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		i, ok := slices.BinarySearchFunc(ids, id, compare)
		switch {
		case !ok:
			c.Foreign++
		case seen[i]:
			c.Duplicated++
		default:
			seen[i] = true
			c.Stored++
		}
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("read the ids: %w", err)
	}
	c.Published = int64(len(ids))
	for i := range ids {
		if !seen[i] && !dead[ids[i]] {
			c.Lost++
		}
	}
	return c, nil
}

// DeadLetters returns how many there are, and the ids of their events. An event may be
// stored too, so their number does not tell how many of those that are not are lost.
func DeadLetters(ctx context.Context, pool *pgxpool.Pool) (n int64, ids map[[16]byte]bool, err error) {
	rows, err := pool.Query(ctx, `SELECT payload FROM dead_letters`)
	if err != nil {
		return 0, nil, fmt.Errorf("read the dead letters: %w", err)
	}
	ids = map[[16]byte]bool{}
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&payload}, func() error {
		n++
		var e struct{ ID string }
		if json.Unmarshal(payload, &e) == nil {
			if id, ok := event.ParseUUID(e.ID); ok {
				ids[id] = true
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("read the dead letters: %w", err)
	}
	return n, ids, err
}

func millisecond(id [16]byte) (ms int64) {
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms
}

// RollupsEqual runs the consumer's own comparison of the rollups with the rows, over all
// that is stored. consumer is its binary, env its settings.
func RollupsEqual(ctx context.Context, consumer string, env []string, pool *pgxpool.Pool) (bool, error) {
	var from, to *time.Time
	err := pool.QueryRow(ctx, `SELECT date_trunc('hour', min(time), 'UTC'), date_trunc('hour', max(time), 'UTC') + interval '1 hour' FROM events`).Scan(&from, &to)
	if err != nil {
		return false, fmt.Errorf("find the span of the events: %w", err)
	}
	if from == nil {
		return true, nil
	}
	verify := exec.CommandContext(ctx, consumer, "verify", "--from", from.UTC().Format(time.RFC3339), "--to", to.UTC().Format(time.RFC3339))
	verify.Env = slices.Concat(os.Environ(), defaults.Settings(), env)
	said, err := verify.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && bytes.Contains(said, []byte("differ")) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("compare the rollups with the rows: %w\n%s", err, said)
	}
	return true, nil
}
