package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/step"
)

// ErrMostRefused is returned instead of dead-lettering most of a batch: when
// PostgreSQL refuses nearly everything, the fault is not the events' but an outage
// or a bad release, and a person has to look.
var ErrMostRefused = errors.New("PostgreSQL refuses most of the batch's events: this is no matter of bad events; nothing was dead-lettered")

// guardRows is how many refusals in one batch it takes to believe that.
const guardRows = 20

// The staging table is a connection's own, and emptied by the end of the
// transaction. n keeps the order of arrival, and its index lets the bisector try a few
// rows without reading all: 100 bad ones of 10,000 are found in 3 s, not in 36.
const createStaging = `
CREATE TEMPORARY TABLE IF NOT EXISTS staging
    (LIKE events, n integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY) ON COMMIT DELETE ROWS`

// Sorted by the whole key, so that two consumers that work on the same events wait
// for each other and never deadlock.
const insertStaged = `
INSERT INTO events (` + batch.Columns + `)
SELECT ` + batch.Columns + ` FROM staging WHERE n >= $1 AND n < $2 ORDER BY id, time, n
ON CONFLICT (id, time) DO NOTHING
RETURNING id, (extract(epoch FROM time - '2000-01-01 00:00:00+00'::timestamptz) * 1000000)::bigint`

// careful stores what is not stored yet, and finds and dead-letters the rows that
// PostgreSQL refuses, in one transaction. It counts only what it really inserted.
func (s *Store) careful(ctx context.Context, conn *pgxpool.Conn, b *batch.Batch) (r Result, err error) {
	r.Careful = true
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, createStaging); err != nil {
			return fmt.Errorf("create staging table: %w", err)
		}
		w := bisector{tx: tx, batch: b, staged: func() { s.Step.At(step.Staged) }, dead: append([]batch.DeadLetter(nil), b.Dead...)}
		if err := w.insert(ctx, 0, len(b.Rows)); err != nil {
			return err
		}
		s.Step.At(step.Inserted)
		if w.refused >= guardRows && w.refused > len(b.Rows)/2 {
			return fmt.Errorf("%w; the last error: %w", ErrMostRefused, outage{w.last})
		}
		b.Recount(w.inserted)
		if keys := b.Deltas.Unresolved(); len(keys) > 0 {
			return fmt.Errorf("%d rollup keys have no number", len(keys))
		}
		r.Inserted, r.Dead = len(w.inserted), len(w.dead)
		r.XID, err = s.finish(ctx, tx, b, w.dead)
		return err
	})
	if err != nil {
		return r, fmt.Errorf("write batch: %w", err)
	}
	return r, nil
}

// outage hides a data error's SQLSTATE from Classify.
type outage struct{ cause error }

func (o outage) Error() string { return o.cause.Error() }

// bisector halves what PostgreSQL refuses until the bad row stands alone.
//
// Rows are staged once, and halved where they are: what each try would stage anew
// stays in the way of the next, dead, until the transaction ends.
type bisector struct {
	tx       pgx.Tx
	batch    *batch.Batch
	staged   func() // called once rows are
	inserted []int  // rows, by index
	dead     []batch.DeadLetter
	refused  int
	last     error
}

// insert stages and inserts rows lo to hi.
func (w *bisector) insert(ctx context.Context, lo, hi int) error {
	return w.halve(ctx, lo, hi, w.insert, func() error {
		err := pgx.BeginFunc(ctx, w.tx, func(tx pgx.Tx) error { // nested: a savepoint
			return copyIn(ctx, tx, "staging", batch.Columns, w.batch.Copy(lo, hi))
		})
		if err != nil {
			return fmt.Errorf("stage events: %w", err)
		}
		var last int // the numbers of one COPY have no gaps
		if err := w.tx.QueryRow(ctx, `SELECT max(n) FROM staging`).Scan(&last); err != nil {
			return fmt.Errorf("stage events: %w", err)
		}
		w.staged()
		return w.move(ctx, lo, hi, last-hi+1)
	})
}

// move inserts the staged rows lo to hi, whose numbers are base more.
func (w *bisector) move(ctx context.Context, lo, hi, base int) error {
	halves := func(ctx context.Context, lo, hi int) error { return w.move(ctx, lo, hi, base) }
	return w.halve(ctx, lo, hi, halves, func() error {
		var inserted []int
		err := pgx.BeginFunc(ctx, w.tx, func(tx pgx.Tx) (err error) {
			inserted, err = w.insertStaged(ctx, tx, lo, hi, base)
			return err
		})
		if err != nil {
			return fmt.Errorf("insert staged events: %w", err)
		}
		w.inserted = append(w.inserted, inserted...)
		return nil
	})
}

// halve tries rows lo to hi; what is refused goes to half, in two halves, and when it
// is one row, to the dead letters.
func (w *bisector) halve(ctx context.Context, lo, hi int, half func(ctx context.Context, lo, hi int) error, try func() error) error {
	if lo == hi {
		return nil
	}
	err := try()
	switch {
	case err == nil:
		return nil
	case Classify(err) == Outage:
		return err
	case hi-lo == 1:
		key, entry := w.batch.Entry(w.batch.Rows[lo])
		w.dead = append(w.dead, batch.DeadLetter{Stream: key, Entry: entry, Stage: batch.Store, Reason: err.Error()})
		w.refused++
		w.last = err
		return nil
	}
	mid := (lo + hi) / 2
	if err := half(ctx, lo, mid); err != nil {
		return err
	}
	return half(ctx, mid, hi)
}

func (w *bisector) insertStaged(ctx context.Context, tx pgx.Tx, lo, hi, base int) (inserted []int, err error) {
	type eventKey struct {
		id   [16]byte
		time int64
	}
	first := make(map[eventKey]int, hi-lo)
	for i := hi - 1; i >= lo; i-- { // the first of equals is the one that is inserted
		first[eventKey{w.batch.Rows[i].ID, w.batch.Rows[i].Time}] = i
	}
	rows, err := tx.Query(ctx, insertStaged, base+lo, base+hi)
	if err != nil {
		return nil, err
	}
	var k eventKey
	_, err = pgx.ForEachRow(rows, []any{&k.id, &k.time}, func() error {
		i, known := first[k]
		if !known {
			return fmt.Errorf("inserted an event that is not in the batch: %x", k.id)
		}
		inserted = append(inserted, i)
		return nil
	})
	return inserted, err
}
