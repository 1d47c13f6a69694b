package behaviour

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
)

// reading is how a question comes to its rows.
type reading[T any] struct {
	from, to time.Time   // the stretch
	first    time.Time   // of the range that was asked for; its events must all be there still
	where    filter.Expr // which events, besides what the scan and recall leave out

	// The rows are those of scan, filled by what decoder makes from its columns in
	// PostgreSQL's binary form.
	scan    scan
	decoder func() func(*T, [][]byte) error
	order   func([]T) iter.Seq[*T] // goes through the rows of a slice

	// Or they are made of what is remembered: recall makes a function for a piece's acts that
	// fills the row of an act with certain tags, and reports whether it is to have one. Nil when
	// the question needs to know more than acts tell and tags add.
	recall func(*acts) (func(a *act, tags uint16, row *T) bool, error)
	tagged []tagged
}

// part reads the rows of a part of a stretch. It may do so into memory that is there already,
// which it returns, grown perhaps, for the part that is read when rows were gone through.
type part[T any] func(ctx context.Context, tx pgx.Tx, into []T) (rows iter.Seq[*T], used []T, err error)

// each goes through rows as they come.
func each[T any](rows []T) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := range rows {
			if !yield(&rows[i]) {
				return
			}
		}
	}
}

// run reads a stretch in parts, and hands their rows to consume part by part, in the order
// of time: so whoever consumes them need only remember users or sessions, not events.
// Within a part they are in the reading's order. A row is there until the next one comes. The
// error, if any, is the answer for the client.
func run[T any](ctx context.Context, q *questions, r reading[T], consume func(iter.Seq[*T]) error) (asOf time.Time, err error) {
	return q.AskTogether(ctx, readers, func(ctx context.Context, txs []pgx.Tx) error {
		if err := query.Kept(ctx, txs[0], "from", query.Events(r.first)); err != nil {
			return err
		}
		recent := time.Now().Truncate(time.Hour)
		pieces, err := counted(ctx, txs[0], r.from, r.to, recent)
		if err != nil {
			return err
		}
		var parts []part[T]
		if r.recall != nil && q.memory.holds(r.to.Sub(r.from), pieces) {
			parts = fromMemory(q.memory, &r, pieces, recent)
		} else {
			parts = fromTable(&r, pieces)
		}
		return inTurn(ctx, txs, parts, consume)
	})
}

// readers is how many connections read slices side by side. PostgreSQL's own
// parallel plans hand every row from one process to another; two connections do not.
const readers = 2

// settings are the readers'. Slices are all the parallelism there is; and a plan for
// any slice would not know how much of the table this one is.
const settings = `
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL plan_cache_mode = force_custom_plan`

// inTurn reads parts side by side and consumes them one after the other.
func inTurn[T any](ctx context.Context, txs []pgx.Tx, parts []part[T], consume func(iter.Seq[*T]) error) error {
	type result struct {
		rows iter.Seq[*T]
		used []T
	}
	read := make([]chan result, len(parts))
	for i := range read {
		read[i] = make(chan result, 1)
	}
	// As many buffers as parts may be read and not consumed: one for each reader, and one
	// that waits while the consumer has another.
	free := make(chan []T, len(txs)+2)
	for range cap(free) {
		free <- nil
	}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for _, tx := range txs {
		group.Go(func() error {
			if _, err := tx.Exec(ctx, settings); err != nil {
				return err
			}
			for {
				var into []T
				select {
				case into = <-free:
				case <-ctx.Done():
					return ctx.Err()
				}
				i := int(next.Add(1)) - 1
				if i >= len(parts) {
					return nil
				}
				rows, used, err := parts[i](ctx, tx, into[:0])
				if err != nil {
					return err
				}
				read[i] <- result{rows, used}
			}
		})
	}
	group.Go(func() error {
		for i := range read {
			select {
			case part := <-read[i]:
				if err := ctx.Err(); err != nil { // both may have come
					return err
				}
				if err := consume(part.rows); err != nil {
					return err
				}
				free <- part.used
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return group.Wait()
}
