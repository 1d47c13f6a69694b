package explorer

import (
	"context"
	"math"
	"time"
)

// uneven reports whether far fewer events were found than should be among those looked through.
// Of those that pass what only rows tell nobody knows how many should be; that there were none
// is a reason to look closer once.
func (p *page) uneven(looked, found int64) bool {
	if p.exact {
		return !p.done() && found < looked/2
	}
	return found == 0 && p.scanned == 0
}

// find goes on in a part of a run, from start to end, whose last events are not where they should
// be. If all that are wanted pass, it reads them where they likely are. It returns what is left to
// read, and in what time the next slice is to expect an event.
func (p *page) find(ctx context.Context, start, end time.Time, of run) (left time.Time, each float64, err error) {
	if likely, most := p.likely(start, end, of); p.exact && !likely.IsZero() {
		before := len(p.items)
		if err := p.rows(ctx, likely, end, most); err != nil {
			return end, 0, err
		}
		if len(p.items) > before {
			p.passed = likely
			return likely, of.usual, nil
		}
	}
	begins, err := p.stretch(ctx, start, end, of)
	return end, float64(end.Sub(begins)) / float64(p.reach), err
}

// stretchSQL parts the way back from $2 to $1, at $6 first and then in halves, until the part that
// is left decides whether the stretch from there to $2 holds $3 events: have are those of [hi, $2),
// all of them, and sum those of [mid, $2), as far as they were counted. It ends with a stretch of no
// more than $7, or with one of a millisecond.
//
// A block range index finds the events of a half, and is left as soon as there are enough: what
// is counted is materialized, as PostgreSQL, when it knows that a few rows will do, prefers to
// read the table from its beginning until they come.
const stretchSQL = `
WITH RECURSIVE half AS (
    SELECT $1::timestamptz AS lo, $2::timestamptz AS hi, 0::bigint AS have, NULL::bigint AS sum
  UNION ALL
    SELECT CASE WHEN c.sum >= $3 THEN mid ELSE lo END, CASE WHEN c.sum >= $3 THEN hi ELSE mid END,
           CASE WHEN c.sum >= $3 THEN have ELSE c.sum END, c.sum
    FROM (
        SELECT lo, hi, mid, have, have + (
            WITH found AS MATERIALIZED (
                SELECT FROM events
                WHERE time >= $1 AND time < $2 AND time >= mid AND time < hi
                  AND ($4 = '' OR type = $4) AND ($5 = '' OR source = $5))
            SELECT count(*) FROM (SELECT FROM found LIMIT $7::bigint + 1 - have) AS enough) AS sum
        FROM (SELECT *, CASE WHEN sum IS NULL THEN $6::timestamptz ELSE lo + (hi - lo) / 2 END AS mid FROM half
              WHERE (sum IS NULL OR sum NOT BETWEEN $3 AND $7) AND hi - lo > '1 ms' OFFSET 0) AS parted
        OFFSET 0) AS c
)
SELECT lo FROM half ORDER BY hi - lo LIMIT 1`

// stretch is where a stretch begins, of those that end before end and begin at start or later, that
// holds as many events of the type and source as the page needs, and not many more: start, when
// all do not. The events are of a run.
func (p *page) stretch(ctx context.Context, start, end time.Time, of run) (begins time.Time, err error) {
	enough := p.enough()
	part, most := p.likely(start, end, of)
	if part.IsZero() {
		part, most = start.Add(end.Sub(start)/2), 4*enough
	}
	err = p.tx.QueryRow(ctx, stretchSQL, start, end, enough, p.typ, p.source, part, most).Scan(&begins)
	return begins, err
}

// enough is how many events a stretch is to hold.
func (p *page) enough() int64 {
	if p.exact {
		return int64(p.need())
	}
	return p.reach
}

// likely is where of the part of a run from start to end the last stretch with enough events
// begins, and how many it holds at most, if traffic was as usual until it stopped; zero when there
// is no telling.
func (p *page) likely(start, end time.Time, of run) (begins time.Time, most int64) {
	enough := p.enough()
	begins, spread := of.last(enough)
	if !begins.After(start) || !begins.Before(end) {
		return time.Time{}, 0
	}
	return begins, max(4*enough, enough+2*spread)
}

// last is where the last n events of a run begin if traffic was as usual until it stopped, n and as
// many more as the number of all varies by: with that, eight looks at the block ranges become one.
// It is zero when nobody knows what is usual.
func (r run) last(n int64) (begins time.Time, spread int64) {
	if r.usual == 0 {
		return begins, 0
	}
	spread = int64(4 * math.Sqrt(float64(r.events)))
	return r.start.Add(time.Duration(float64(r.events-n-spread) * r.usual)), spread
}
