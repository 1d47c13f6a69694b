package metric

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/services/shared/rollup"
)

// maxRawSpan bounds what is read row by row.
const maxRawSpan = 7 * 24 * time.Hour

// question is one time series to read. Its answer has the total of each bucket and,
// when grouped, the largest groups; what belongs to none of them is the caller's
// subtraction, so that the groups always add up to the total, and the many small
// ones are never read bucket by bucket.
type question struct {
	span
	Filter
	interval interval
	groupBy  string
	limit    int
	raw      bool // rollups cross types with one field, not with two
}

func chooseQuestion(s span, in *timeseriesInput) question {
	q := question{span: s, Filter: in.Filter, interval: interval(in.Interval), groupBy: in.GroupBy, limit: in.Limit}
	switch in.GroupBy {
	case "", "type", "source":
	default:
		q.raw = in.Source != ""
	}
	return q
}

func (q question) servedBy() string {
	if q.raw {
		return "raw"
	}
	return "rollups"
}

func (q question) read(ctx context.Context, tx pgx.Tx) ([]row, error) {
	sql, args := q.rollups()
	if q.raw {
		sql, args = q.events()
	}
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (out row, err error) {
		return out, r.Scan(&out.label, &out.bucket, &out.events, &out.value)
	})
}

// rollups reads the total from the dimension that needs no grouping. The groups are
// ranked from the coarsest grains, and only the winners are read by bucket.
func (q question) rollups() (string, []any) {
	var s statement
	unit := s.arg(string(q.interval))
	sql := `
WITH cell AS (
    ` + s.cells(q.span, q.interval.size(), q.dimension()) + `
), key AS (
    ` + s.keys(q.Filter, q.dimension(), "type") + `
)
SELECT NULL AS label, date_trunc(` + unit + `, bucket, 'UTC') AS bucket, sum(events)::bigint, sum(value)::text, 0 AS rank
FROM cell JOIN key ON id = key_id
GROUP BY 2`
	if q.groupBy == "" {
		return "WITH total (label, bucket, events, value, rank) AS (" + sql + `
)
SELECT label, bucket, events, value FROM total`, s.args
	}
	dimension, label := q.dimension(), "type"
	if q.groupBy != "type" {
		dimension, _ = rollup.ParseDimension(q.groupBy)
		label = "value"
	}
	return `
WITH total AS (` + sql + `
), group_key AS (
    ` + s.keys(q.Filter, dimension, label) + `
), whole AS (
    ` + s.cells(q.span, 24*time.Hour, dimension) + `
), top AS (
    SELECT label, row_number() OVER (ORDER BY sum(events) DESC, label) AS rank
    FROM whole JOIN group_key ON id = key_id
    GROUP BY label
    ORDER BY rank
    LIMIT ` + s.arg(q.limit) + `
), group_cell AS (
    ` + s.cells(q.span, q.interval.size(), dimension) + `
), grouped AS (
    SELECT label, date_trunc(` + unit + `, bucket, 'UTC') AS bucket, sum(events)::bigint, sum(value)::text, rank
    FROM group_cell JOIN group_key ON id = key_id JOIN top USING (label)
    GROUP BY label, rank, 2
)
SELECT label, bucket, events, value
FROM (TABLE total UNION ALL TABLE grouped) AS answer (label, bucket, events, value, rank)
ORDER BY rank, label, bucket`, s.args
}

// events reads the same from the rows themselves.
func (q question) events() (string, []any) {
	var s statement
	sql := `
WITH cell AS (
    SELECT date_trunc(` + s.arg(string(q.interval)) + `, time, 'UTC') AS bucket, nullif(` + columns[q.groupBy] + `, '') AS label,
           count(*) AS events, coalesce(sum(value), 0) * 1000000 AS value
    FROM events
    WHERE time >= ` + s.arg(q.from) + ` AND time < ` + s.arg(q.to) + ` AND source = ` + s.arg(q.Source)
	if q.Type != "" {
		sql += ` AND type = ` + s.arg(q.Type)
	}
	return sql + `
    GROUP BY 1, 2
), top AS (
    SELECT label, row_number() OVER (ORDER BY sum(events) DESC, label) AS rank
    FROM cell
    WHERE label IS NOT NULL
    GROUP BY label
    ORDER BY rank
    LIMIT ` + s.arg(q.limit) + `
), total AS (
    SELECT NULL AS label, bucket, sum(events)::bigint, sum(value)::text, 0 AS rank
    FROM cell
    GROUP BY bucket
), grouped AS (
    SELECT label, bucket, events, value::text, rank
    FROM cell JOIN top USING (label)
)
SELECT label, bucket, events, value
FROM (TABLE total UNION ALL TABLE grouped) AS answer (label, bucket, events, value, rank)
ORDER BY rank, label, bucket`, s.args
}

// columns are the fields that may be grouped by as columns of events: SQL takes its
// text from here, not from the client.
var columns = map[string]string{
	"path": "path", "referrer": "referrer", "country": "country", "device": "device", "browser": "browser", "os": "os",
}
