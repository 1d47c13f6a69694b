package behaviour

import (
	"context"
	"encoding/binary"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"weir/services/api/internal/query"
)

// scan reads narrow rows of the events of a stretch of time, to be put together in Go.
// In SQL the same takes a sort or a hash table over all of them: a day of 1.7 million
// events grouped by session takes PostgreSQL twice the processor time that sending
// three columns of them does, and cannot tell the first page from the last yet.
//
// The stretch is read in slices, in the order of time, so that whoever consumes them
// need only remember users or sessions, not events.
type scan struct {
	columns  string // what a row holds
	where    string // which events; of all in the stretch
	args     []any  // of both
	from, to time.Time
	first    time.Time // of the range that was asked for; its events must all be there still
}

// arg adds an argument and returns its placeholder.
func (s *scan) arg(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

const (
	// readers is how many connections read slices side by side. PostgreSQL's own
	// parallel plans hand every row from one process to another; two connections do not.
	readers = 2

	// sliceRows is about how many events a slice has: 60 ms of reading, beside which the
	// plan and the look at the block range index, 0.7 ms, do not count (BenchmarkRawRows).
	// In memory it is 10 MB, and there are four of them.
	sliceRows = 200_000

	// maxSliceRows bounds memory, to 200 MB a slice, when far more events come within one
	// part of an hour than in the others.
	maxSliceRows = 4_000_000
)

// settings are the readers'. Slices are all the parallelism there is; and a plan for
// any slice would not know how much of the table this one is.
const settings = `
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL plan_cache_mode = force_custom_plan`

// run reads all slices, and hands their rows to consume slice by slice, in the order of
// time; within a slice they are in no order. decoder makes a function that fills a T
// from the columns, in PostgreSQL's binary form; one for each reader. Their memory is
// used again after the call. The error, if any, is the answer for the client.
func run[T any](ctx context.Context, r *query.Reader, s scan, decoder func() func(*T, [][]byte) error, consume func([]T) error) (asOf time.Time, err error) {
	return r.AskTogether(ctx, readers, func(ctx context.Context, txs []pgx.Tx) error {
		if err := query.Kept(ctx, txs[0], s.first); err != nil {
			return err
		}
		slices, err := s.slices(ctx, txs[0])
		if err != nil {
			return err
		}
		sql := "SELECT " + s.columns + " FROM events WHERE time >= " + s.arg(nil) + " AND time < " + s.arg(nil) + " AND (" + s.where + ")"
		read := make([]chan []T, len(slices))
		for i := range read {
			read[i] = make(chan []T, 1)
		}
		// As many buffers as slices may be read and not consumed: one for each reader,
		// and one that waits while the consumer has another.
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
				decode := decoder()
				for {
					var rows []T
					select {
					case rows = <-free:
					case <-ctx.Done():
						return ctx.Err()
					}
					i := int(next.Add(1)) - 1
					if i >= len(slices) {
						return nil
					}
					args := append([]any{}, s.args...)
					args[len(args)-2], args[len(args)-1] = slices[i].from, slices[i].to
					rows, err := fill(ctx, tx, sql, args, rows[:0], decode)
					if err != nil {
						return err
					}
					read[i] <- rows
				}
			})
		}
		group.Go(func() error {
			for i := range read {
				select {
				case rows := <-read[i]:
					if err := consume(rows); err != nil {
						return err
					}
					free <- rows
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
		return group.Wait()
	})
}

func fill[T any](ctx context.Context, tx pgx.Tx, sql string, args []any, into []T, decode func(*T, [][]byte) error) ([]T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		if len(into) == maxSliceRows {
			return nil, tooMuch("events at once")
		}
		var zero T
		into = append(into, zero)
		if err := decode(&into[len(into)-1], rows.RawValues()); err != nil {
			return nil, err
		}
	}
	return into, rows.Err()
}

// slice is a part of the stretch.
type slice struct{ from, to time.Time }

const hoursSQL = `
SELECT bucket, sum(events)::bigint
FROM hours
WHERE dimension = 0 AND bucket > $1::timestamptz - interval '1 hour' AND bucket < $2
GROUP BY bucket
ORDER BY bucket`

// slices cuts the stretch by what the rollups say of its hours. They only set the sizes:
// what they do not tell of is read all the same.
func (s *scan) slices(ctx context.Context, tx pgx.Tx) ([]slice, error) {
	rows, err := tx.Query(ctx, hoursSQL, s.from, s.to)
	if err != nil {
		return nil, err
	}
	hours, err := pgx.CollectRows(rows, pgx.RowToStructByPos[hour])
	return cut(s.from, s.to, hours, sliceRows), err
}

type hour struct {
	Start  time.Time
	Events int64
}

// cut covers a stretch once, in order, with slices of about so many events: hours
// together while they have few, and equal parts of one that has many.
func cut(from, to time.Time, hours []hour, most int64) (list []slice) {
	at, held := from, int64(0) // the slice that is being made
	end := func(t time.Time) {
		if t.After(at) && t.Before(to) {
			list, at, held = append(list, slice{at, t}), t, 0
		}
	}
	for _, h := range hours {
		if held+h.Events > most {
			end(h.Start)
		}
		held += h.Events
		if parts := (h.Events + most - 1) / most; parts > 1 {
			for i := range parts {
				end(h.Start.Add(time.Hour * time.Duration(i+1) / time.Duration(parts)))
			}
		}
	}
	return append(list, slice{at, to})
}

// epoch is where PostgreSQL counts microseconds from.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// micros reads a timestamptz, as microseconds since 1970.
func micros(raw []byte) int64 { return int64(binary.BigEndian.Uint64(raw)) + epoch }
