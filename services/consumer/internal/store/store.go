// Package store writes batches to TimescaleDB, one transaction each.
package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/step"
	"weir/services/shared/rollup"
)

// Store writes batches. It is safe for concurrent use.
type Store struct {
	Pool    *pgxpool.Pool
	Timeout time.Duration // of one attempt; past it the connection is taken for dead. See patience
	Step    step.Hook     // for tests
}

// Result tells what a transaction changed.
type Result struct {
	XID      uint64 // the transaction
	Inserted int    // events stored; the rest of the rows were stored already
	Dead     int    // dead letters
	Careful  bool   // whether it went through the staging table
}

// Write makes one attempt to commit the batch: all of it or nothing.
//
// The optimistic way copies the rows straight into the hypertable. When that meets
// a duplicate or a row that PostgreSQL refuses, or when the batch is suspect from
// the start, the careful way sorts it out. After any other error the outcome may be
// unknown (a COMMIT whose answer was lost), so the batch is marked suspect and the
// caller tries again later: whatever was stored is then recognised, not counted
// twice.
func (s *Store) Write(ctx context.Context, b *batch.Batch) (Result, error) {
	limited, cancel := context.WithTimeout(ctx, s.patience(b))
	defer cancel()
	r, err := s.attempt(limited, b)
	if readOnly(err) {
		// The pool may hold sessions that began so, or lead to a server that was demoted.
		s.Pool.Reset()
		r, err = s.attempt(limited, b)
	}
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		b.Timeouts++
	}
	return r, err
}

func (s *Store) attempt(ctx context.Context, b *batch.Batch) (Result, error) {
	r, err := s.write(ctx, b)
	if err != nil {
		b.Suspect = true
		b.Forget()
	}
	return r, err
}

// patience is how long this attempt may take. Twice out of time may be dead connections;
// from then on the batch gets twice as long each time, up to 16 times Timeout. It may
// simply need it, and would else be tried for ever: 20,000 events that come so late that
// their day of 2,000,000 rows is compressed took 3 s on an idle machine, 10 s on a busy
// one, and it is more the more rows the day has.
func (s *Store) patience(b *batch.Batch) time.Duration {
	return s.Timeout << min(max(b.Timeouts-1, 0), 4)
}

func (s *Store) write(ctx context.Context, b *batch.Batch) (Result, error) {
	// One connection for all of it: writers that each held one and waited for a second
	// could use up the pool and wait for ever.
	conn, err := s.Pool.Acquire(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("write batch: %w", err)
	}
	defer conn.Release()
	if n := lost(s.Pool.Stat()); n > b.Lost {
		b.Lost = n
		b.Forget()
	}
	if err := resolve(ctx, conn, b.Deltas); err != nil {
		return Result{}, err
	}
	// A crash from here to the COMMIT leaves nothing behind but keys: PostgreSQL rolls
	// back. One whose COMMIT was sent, but not answered, leaves all of it.
	s.Step.At(step.Resolved)
	if !b.Suspect {
		r, err := s.optimistic(ctx, conn, b)
		if err == nil || Classify(err) == Outage {
			return r, err
		}
	}
	return s.careful(ctx, conn, b)
}

// lost is how many of a pool's connections broke.
func lost(pool *pgxpool.Stat) int64 {
	return pool.NewConnsCount() - int64(pool.TotalConns()) - pool.MaxIdleDestroyCount() - pool.MaxLifetimeDestroyCount()
}

func (s *Store) optimistic(ctx context.Context, conn *pgxpool.Conn, b *batch.Batch) (r Result, err error) {
	loads := []load{{"events", batch.Columns, b.Copy(0, len(b.Rows)), []step.Step{step.Copying}, []step.Step{step.Copied}}}
	if len(b.Dead) > 0 {
		loads = append(loads, load{table: "dead_letters", columns: batch.DeadColumns, parts: [][]byte{batch.AppendDeadCopy(nil, once(b.Dead))}})
	}
	last := &loads[len(loads)-1]
	last.done = append(last.done, step.DeadLettered)
	if r.XID, err = s.copyAll(ctx, conn, append(loads, counts(b)...)); err != nil {
		return Result{}, fmt.Errorf("write batch: %w", err)
	}
	r.Inserted, r.Dead = len(b.Rows), len(b.Dead)
	return r, nil
}

// counts are the deltas, and who was seen.
func counts(b *batch.Batch) (loads []load) {
	if b.Deltas.Len() > 0 {
		loads = append(loads, load{table: "rollup_deltas", columns: batch.DeltaColumns, parts: [][]byte{b.Deltas.AppendCopy(nil)}})
	}
	for i, sets := range b.Deltas.AppendUsersCopy([2][]byte{}) {
		if len(sets) > 0 {
			loads = append(loads, load{table: rollup.UserLogs[i], columns: batch.UserColumns, parts: [][]byte{sets}})
		}
	}
	return loads
}

// finish writes what goes with the rows: dead letters, and the deltas last.
func (s *Store) finish(ctx context.Context, tx pgx.Tx, b *batch.Batch, dead []batch.DeadLetter) (xid uint64, err error) {
	if err := insertDeadLetters(ctx, tx, dead); err != nil {
		return 0, err
	}
	s.Step.At(step.DeadLettered)
	for _, l := range counts(b) {
		if err := copyIn(ctx, tx, l.table, l.columns, l.parts); err != nil {
			return 0, fmt.Errorf("copy %s: %w", l.table, err)
		}
	}
	err = tx.QueryRow(ctx, `SELECT pg_current_xact_id()::text::bigint`).Scan(&xid)
	s.Step.At(step.Counted)
	return xid, err
}

func copyIn(ctx context.Context, tx pgx.Tx, table, columns string, parts [][]byte) error {
	readers := make([]io.Reader, len(parts))
	for i, p := range parts {
		readers[i] = bytes.NewReader(p)
	}
	_, err := tx.Conn().PgConn().CopyFrom(ctx, io.MultiReader(readers...), "COPY "+table+" ("+columns+") FROM STDIN BINARY")
	return err
}
