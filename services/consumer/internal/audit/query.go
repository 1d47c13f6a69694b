package audit

import (
	"strconv"
	"strings"

	"weir/services/shared/rollup"
)

// differences lists the buckets between $1 and $2, which lie on one UTC day, whose
// rollup (with what is not folded yet) is not what counting the raw rows gives. The
// day's own bucket is compared when $3 says that the span is the whole day.
//
// It is one statement, so one snapshot: a batch that commits meanwhile is in both
// counts or in neither.
var differences = `
counted AS (
    SELECT date_trunc('minute', e.time, 'UTC') AS bucket, d.dimension::smallint, e.type, d.value,
           count(*) AS events, coalesce(sum(e.value), 0) * 1000000 AS total
    FROM events e
    CROSS JOIN LATERAL (VALUES ` + dimensions() + `) AS d (dimension, value)
    WHERE e.time >= $1 AND e.time < $2 AND d.value IS NOT NULL
    GROUP BY 1, 2, 3, 4
), keyed AS (
    SELECT c.*, k.id AS key_id FROM counted c LEFT JOIN rollup_keys k USING (dimension, type, value)
), raw AS (
    SELECT 'minute' AS grain, bucket, dimension, key_id, type, value, events, total
    FROM keyed
    UNION ALL
    SELECT 'hour', date_trunc('hour', bucket, 'UTC'), dimension, key_id, type, value, sum(events), sum(total)
    FROM keyed GROUP BY 2, 3, 4, 5, 6
    UNION ALL
    SELECT 'day', date_trunc('day', bucket, 'UTC'), dimension, key_id, type, value, sum(events), sum(total)
    FROM keyed WHERE $3 GROUP BY 2, 3, 4, 5, 6
), rolled AS (
    SELECT 'minute' AS grain, bucket, dimension, key_id, sum(events) AS events, sum(value) AS total
    FROM minutes WHERE bucket >= $1 AND bucket < $2 GROUP BY 2, 3, 4
    UNION ALL
    SELECT 'hour', bucket, dimension, key_id, sum(events), sum(value)
    FROM hours WHERE bucket >= $1 AND bucket < $2 GROUP BY 2, 3, 4
    UNION ALL
    SELECT 'day', bucket, dimension, key_id, sum(events), sum(value)
    FROM days WHERE $3 AND bucket >= $1 AND bucket < $2 GROUP BY 2, 3, 4
), differences AS (
    SELECT grain, bucket, dimension, key_id, raw.type, raw.value,
           coalesce(raw.events, 0)::bigint AS raw_events, coalesce(rolled.events, 0)::bigint AS rolled_events,
           coalesce(raw.total, 0) AS raw_total, coalesce(rolled.total, 0) AS rolled_total
    FROM raw FULL JOIN rolled USING (grain, bucket, dimension, key_id)
    WHERE coalesce(raw.events, 0) <> coalesce(rolled.events, 0)
       OR coalesce(raw.total, 0) <> coalesce(rolled.total, 0)
)`

// dimensions makes (0, ”), (1, e.path), ... of what package rollup counts by.
func dimensions() string {
	values := make([]string, rollup.Dimensions)
	for i := range values {
		column := "''"
		if d := rollup.Dimension(i); d != rollup.All {
			column = "e." + d.String()
		}
		values[i] = "(" + strconv.Itoa(i) + ", " + column + ")"
	}
	return strings.Join(values, ", ")
}
