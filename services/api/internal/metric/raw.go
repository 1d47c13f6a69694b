package metric

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/query"
	"weir/services/shared/rollup"
)

// maxCells bounds what one question may count apart from raw events: some 30 MB.
const maxCells = 200_000

// raw is a counter that reads the events themselves. It reads them once, by all fields
// and buckets of the question, and adds up the rest from that; only who did it has to
// be asked again.
type raw struct {
	tx pgx.Tx
	question
	cells []cell
}

func (r *raw) load(ctx context.Context) error {
	if err := query.Kept(ctx, r.tx, r.From); err != nil {
		return err
	}
	var s statement
	rows, err := r.tx.Query(ctx, `
SELECT bucket, label, label2, count(*), (coalesce(sum(value), 0) * 1000000)::text
FROM (
    `+r.events(&s, r.by, nil, len(r.buckets) > 0, "value")+`
) AS event
GROUP BY 1, 2, 3
LIMIT `+s.arg(maxCells+1), s.args...)
	if err != nil {
		return err
	}
	r.cells, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c cell, err error) {
		return c, row.Scan(&c.bucket, &c.labels[0], &c.labels[1], &c.Events, &c.Value)
	})
	if err == nil && len(r.cells) > maxCells {
		return query.Invalid("from", fmt.Sprintf("gives more than %d groups and buckets: ask for a shorter range, a longer interval or a narrower filter", maxCells), r.From)
	}
	return err
}

// events is a query of (bucket, label, label2, and one column more).
func (r *raw) events(s *statement, by []string, keep map[string][]string, bucketed bool, column string) string {
	bucket := "0"
	if bucketed {
		bucket = "width_bucket(time, " + s.arg(r.buckets) + "::timestamptz[]) - 1"
	}
	labels := [2]string{"''", "''"}
	for i, field := range by {
		labels[i] = "coalesce(" + rollup.Column(field) + ", '')"
	}
	sql := "SELECT " + bucket + " AS bucket, " + labels[0] + " AS label, " + labels[1] + " AS label2, " + column + `
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

func (r *raw) count(_ context.Context, by []string, keep map[string][]string, bucketed bool) (list []cell, err error) {
	type place struct {
		bucket int
		labels [2]string
	}
	sums := map[place]*cell{}
	for _, c := range r.cells {
		var p place
		if bucketed {
			p.bucket = c.bucket
		}
		kept := true
		for i, field := range by {
			p.labels[i] = c.labels[slices.Index(r.by, field)]
			kept = kept && p.labels[i] != "" && (keep[field] == nil || slices.Contains(keep[field], p.labels[i]))
		}
		if !kept {
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

// byType reads the rows once for both.
func (r *raw) byType(ctx context.Context, w who) (types []cell, all int64, err error) {
	var s statement
	rows, err := r.tx.Query(ctx, `
WITH one AS (
    SELECT DISTINCT label, who
    FROM (
    `+r.events(&s, []string{"type"}, nil, false, whoOf(w))+`
    ) AS event
    WHERE who IS NOT NULL
)
SELECT label, count(*) FROM one GROUP BY 1
UNION ALL
SELECT NULL, count(*) FROM (SELECT DISTINCT who FROM one) AS every`, s.args...)
	if err != nil {
		return nil, 0, err
	}
	var label *string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&label, &n}, func() error {
		if label == nil {
			all = n
		} else {
			types = append(types, cell{labels: [2]string{*label}, n: n})
		}
		return nil
	})
	return types, all, err
}

// whoOf is the column "who" of what is counted once.
func whoOf(w who) string {
	if w == sessions {
		return "session_id AS who"
	}
	return "coalesce(user_id, anonymous_id) AS who"
}

func (r *raw) unique(ctx context.Context, w who, by []string, keep map[string][]string, bucketed bool) ([]cell, error) {
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
