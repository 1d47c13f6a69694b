package behaviour

import (
	"context"
	"encoding/binary"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
)

// scan is a question in SQL for narrow rows of the events of a stretch of time, to be put
// together in Go. In SQL the same takes a sort or a hash table over all of them: a day of
// 1.7 million events grouped by session takes PostgreSQL twice the processor time that
// sending three columns of them does, and cannot tell the first page from the last yet.
type scan struct {
	columns   string // what a row holds
	early     string // what the condition asks of the first columns of a row, to be asked first; "" for nothing
	condition string // which events; of all in the stretch
	args      []any  // of all three
}

// arg adds an argument and returns its placeholder.
func (s *scan) arg(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

// sql has two arguments more: from and to.
//
// PostgreSQL takes a row apart up to the last column that a WHERE asks about, before it asks:
// with a type and a property, all of each row. So what is early is asked in a WHERE of its
// own, which OFFSET 0 keeps apart: with a type and a property that halves the time.
func (s *scan) sql() string {
	from, to := "$"+strconv.Itoa(len(s.args)+1), "$"+strconv.Itoa(len(s.args)+2)
	table, within := "events", "time >= "+from+" AND time < "+to
	if s.early != "" {
		table, within = "(SELECT * FROM events WHERE "+within+" AND "+s.early+" OFFSET 0) AS event", "true"
	}
	return "SELECT " + s.columns + " FROM " + table + " WHERE " + within + " AND (" + s.condition + ")"
}

const (
	// sliceRows is about how many events a slice has: 60 ms of reading, beside which the
	// plan and the look at the block range index, 0.7 ms, do not count (BenchmarkRawRows).
	// In memory it is 11 MB, the order that they are gone through in included, and there are
	// four of them.
	sliceRows = 200_000

	// maxSliceRows bounds memory, to 220 MB a slice, when far more events come within one
	// part of an hour than in the others.
	maxSliceRows = 4_000_000
)

// fromTable cuts the stretch into slices.
func fromTable[T any](r *reading[T], pieces []piece) (parts []part[T]) {
	for _, s := range cut(r.from, r.to, pieces, sliceRows) {
		parts = append(parts, func(ctx context.Context, tx pgx.Tx, into []T) (iter.Seq[*T], []T, error) {
			return r.fromSlice(ctx, tx, s, into)
		})
	}
	return parts
}

func (r *reading[T]) fromSlice(ctx context.Context, tx pgx.Tx, s slice, into []T) (iter.Seq[*T], []T, error) {
	rows, err := fill(ctx, tx, r.scan.sql(), append(slices.Clone(r.scan.args), s.from, s.to), into, r.decoder())
	if err != nil {
		return nil, nil, err
	}
	return r.order(rows), rows, nil
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

// The hour that lasts is in pieces of a minute: then not all of it is read again when
// something happens in it.
const piecesSQL = `
SELECT bucket, 60, sum(events)::bigint, ` + query.Rebuilds + `
FROM hours
WHERE dimension = 0 AND bucket >= $1 AND bucket < $2 AND (bucket < $3::timestamptz OR bucket >= $3::timestamptz + interval '1 hour')
GROUP BY 1
UNION ALL
SELECT bucket, 1, sum(events)::bigint, ` + query.Rebuilds + `
FROM minutes
WHERE dimension = 0 AND bucket >= $1 AND bucket < $2 AND bucket >= $3::timestamptz AND bucket < $3::timestamptz + interval '1 hour'
GROUP BY 1
ORDER BY 1`

// counted is what the rollups say of a stretch: of its hours, and of the minutes of the hour
// that begins at recent. Those at its ends are counted whole. What rollups do not tell of is
// read all the same.
func counted(ctx context.Context, tx pgx.Tx, from, to, recent time.Time) ([]piece, error) {
	rows, err := tx.Query(ctx, piecesSQL, from.Truncate(time.Hour), span.Ceil(to, time.Minute), recent)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[piece])
}

// piece is how many events so many minutes have, and how often rollups were made anew
// before.
type piece struct {
	Start            time.Time
	Minutes          int32
	Events, Rebuilds int64
}

func (p *piece) end() time.Time { return p.Start.Add(time.Duration(p.Minutes) * time.Minute) }

// cut covers a stretch once, in order, with slices of about so many events: pieces
// together while they have few, and equal parts of one that has many.
func cut(from, to time.Time, pieces []piece, most int64) (list []slice) {
	at, held := from, int64(0) // the slice that is being made
	end := func(t time.Time) {
		if t.After(at) && t.Before(to) {
			list, at, held = append(list, slice{at, t}), t, 0
		}
	}
	for _, p := range pieces {
		if held+p.Events > most {
			end(p.Start)
		}
		held += p.Events
		if parts := (p.Events + most - 1) / most; parts > 1 {
			for i := range parts {
				end(p.Start.Add(p.end().Sub(p.Start) * time.Duration(i+1) / time.Duration(parts)))
			}
		}
	}
	return append(list, slice{at, to})
}

// epoch is where PostgreSQL counts microseconds from.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// micros reads a timestamptz, as microseconds since 1970.
func micros(raw []byte) int64 { return int64(binary.BigEndian.Uint64(raw)) + epoch }
