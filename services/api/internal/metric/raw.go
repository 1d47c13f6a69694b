package metric

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
	"weir/services/shared/rollup"
)

// maxCells bounds what one question may count apart from raw events: some 30 MB.
const maxCells = 200_000

// raw is a counter that reads the events themselves. It reads them once, by all fields and
// buckets of the question and by the first of who is asked for, and adds up the rest from
// that; only what is asked of who by fewer fields or buckets, or of another, reads them
// again.
type raw struct {
	tx pgx.Tx
	question
	cells []cell
	all   int64 // of the first of who is asked for, how many in all cells together
}

func (r *raw) load(ctx context.Context) error {
	settings := []string{planned}
	if !r.most(time.Now()) {
		settings = append(settings, alone)
	}
	if err := query.Kept(ctx, r.tx, r.parameter(), query.Events(r.From), settings...); err != nil {
		return err
	}
	column := "NULL::text AS who"
	if len(r.who) > 0 {
		column = whoOf(r.who[0])
	}
	var s statement
	rows, err := r.tx.Query(ctx, `
WITH one AS (
    SELECT bucket, label, label2, who, count(*) AS events, coalesce(sum(value), 0) AS value
    FROM (
    `+r.events(&s, r.by, nil, len(r.buckets) > 0, "value, "+column)+`
    ) AS event
    GROUP BY 1, 2, 3, 4
)
(SELECT bucket, label, label2, sum(events)::bigint, (sum(value) * 1000000)::text, count(who)
FROM one
GROUP BY 1, 2, 3
LIMIT `+s.arg(maxCells+1)+`)
UNION ALL
SELECT NULL, '', '', 0, '0', count(*) FROM (SELECT DISTINCT who FROM one WHERE who IS NOT NULL) AS every`, s.args...)
	if err != nil {
		return err
	}
	var bucket *int
	var c cell
	_, err = pgx.ForEachRow(rows, []any{&bucket, &c.labels[0], &c.labels[1], &c.Events, &c.Value, &c.n}, func() error {
		if bucket == nil {
			r.all = c.n
			return nil
		}
		c.bucket = *bucket
		r.cells = append(r.cells, c)
		return nil
	})
	if err == nil && len(r.cells) > maxCells {
		return query.Invalid("from", fmt.Sprintf("gives more than %d groups and buckets: ask for a shorter range, a longer interval or a narrower filter", maxCells), r.From)
	}
	return err
}

// chunk is how long the migrations make a chunk of events, from midnight UTC on.
const chunk = 24 * time.Hour

// most reports whether the range has most of the events of its chunks. Several processes read
// those, by block ranges or all of a chunk as PostgreSQL chooses: 1.7 million events of a day, of
// 3.4 million of two chunks, took 0.26 to 0.36 s, and 0.35 to 0.43 s when block ranges were
// forbidden (alternated, by what part of each chunk it was). Fewer are found by one process: of a
// day's, as it was when that was chosen, in 0.35 s, and by three that take turns, page by page, in
// 0.5 s.
func (q question) most(now time.Time) bool {
	to, last := q.To, span.Ceil(q.To, chunk)
	if to.After(now) { // hardly anything is there yet
		to = now
	}
	if last.After(now) {
		last = now
	}
	return 2*to.Sub(q.From) >= last.Sub(q.From.Truncate(chunk))
}

// events is a query of (bucket, label, label2, and what columns are more).
func (r *raw) events(s *statement, by []string, keep map[string][]string, bucketed bool, columns string) string {
	bucket := "0"
	if bucketed {
		bucket = "width_bucket(time, " + s.arg(r.buckets) + "::timestamptz[]) - 1"
	}
	labels := [2]string{"''", "''"}
	for i, field := range by {
		labels[i] = "coalesce(" + rollup.Column(field) + ", '')"
	}
	sql := "SELECT " + bucket + " AS bucket, " + labels[0] + " AS label, " + labels[1] + " AS label2, " + columns + `
    FROM events
    WHERE time >= ` + s.arg(r.From) + " AND time < " + s.arg(r.To) + " AND " + r.filter.SQL(s.arg)
	for field, values := range keep {
		sql += " AND " + rollup.Column(field) + " = ANY (" + s.arg(values) + "::text[])"
	}
	return sql
}

func (r *raw) top(_ context.Context, field string, limit int) ([]group, error) {
	i := slices.Index(r.by, field)
	sums := map[string]*group{}
	for _, c := range r.cells {
		name := c.labels[i]
		if name == "" {
			continue
		}
		if sums[name] == nil {
			sums[name] = &group{name: name}
		}
		sums[name].add(c.Numbers)
	}
	list := make([]group, 0, len(sums))
	for _, g := range sums {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b group) int { return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.name, b.name)) })
	return list[:min(limit, len(list))], nil
}

// spot is the group and the bucket that a cell is in.
type spot struct {
	bucket int
	labels [2]string
}

// spot tells where a cell belongs, by some of the question's fields; ok is false for what
// is in no group.
func (r *raw) spot(c cell, by []string, keep map[string][]string, bucketed bool) (at spot, ok bool) {
	if bucketed {
		at.bucket = c.bucket
	}
	for i, field := range by {
		at.labels[i] = c.labels[slices.Index(r.by, field)]
		if at.labels[i] == "" || keep[field] != nil && !slices.Contains(keep[field], at.labels[i]) {
			return at, false
		}
	}
	return at, true
}

func (r *raw) count(_ context.Context, by []string, keep map[string][]string, bucketed bool) (list []cell, err error) {
	sums := map[spot]*cell{}
	for _, c := range r.cells {
		p, ok := r.spot(c, by, keep, bucketed)
		if !ok {
			continue
		}
		if sums[p] == nil {
			sums[p] = &cell{bucket: p.bucket, labels: p.labels}
		}
		sums[p].add(c.Numbers)
	}
	for _, c := range sums {
		list = append(list, *c)
	}
	return list, nil
}

func (r *raw) byType(ctx context.Context, w who) (types []cell, all int64, err error) {
	if types, err = r.unique(ctx, w, []string{"type"}, nil, false); err != nil {
		return nil, 0, err
	}
	every, err := r.unique(ctx, w, nil, nil, false)
	for _, c := range every {
		all = c.n
	}
	return types, all, err
}

func (r *raw) unique(ctx context.Context, w who, by []string, keep map[string][]string, bucketed bool) (list []cell, err error) {
	if len(r.who) > 0 && r.who[0] == w {
		switch {
		case len(by) == 0 && !bucketed:
			return []cell{{n: r.all}}, nil
		case len(by) == len(r.by) && bucketed == (len(r.buckets) > 0):
			for _, c := range r.cells {
				if p, ok := r.spot(c, by, keep, bucketed); ok {
					list = append(list, cell{bucket: p.bucket, labels: p.labels, n: c.n})
				}
			}
			return list, nil
		}
	}
	var s statement
	rows, err := r.tx.Query(ctx, `
SELECT bucket, label, label2, count(*)
FROM (
    SELECT DISTINCT bucket, label, label2, who
    FROM (
    `+r.events(&s, by, keep, bucketed, whoOf(w))+`
    ) AS event
    WHERE who IS NOT NULL
) AS one
GROUP BY 1, 2, 3`, s.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c cell, err error) {
		return c, row.Scan(&c.bucket, &c.labels[0], &c.labels[1], &c.n)
	})
}

// whoOf is the column "who" of what is counted once.
func whoOf(w who) string {
	if w == sessions {
		return "session_id AS who"
	}
	return "coalesce(user_id, anonymous_id) AS who"
}
