package explorer

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
	"weir/services/shared/event"
	"weir/services/shared/rollup"
)

const (
	// guess is how many times more events than needed a page looks through first when
	// only the rows tell which of them pass its filter.
	guess = 2

	// maxReach is how many one statement looks through at most, when few of them are wanted: 17 ms
	// by a plain column, 90 ms by two properties (BenchmarkRawRows).
	maxReach = 100_000

	// maxScanned is how many events one page looks through at most when a filter has to
	// be tried on each, five times as long. A page that stops there is not full, and says
	// how far it came.
	maxScanned = 500_000

	// bridge is how many events between two runs are read in the time that a statement takes
	// which reads none.
	bridge = 3000

	// underway is how long an event usually is on its way to the table, at most.
	underway = 250 * time.Millisecond
)

// page reads up to limit events that come after a position.
//
// Raw rows have no index that gives them in order, as no writer should pay for one:
// a block range index finds the rows of a stretch of time, and these are sorted. So
// the stretches must be small, and few of them empty. The rollups, which equal the
// rows in the same snapshot, say which minutes hold events of the type and source that
// are wanted, and how many:
//
//  1. the minutes up to the position's own that hold events, from the rollups, looking
//     further back each time until they hold enough or the range or the oldest chunk is
//     passed;
//  2. those minutes' rows, a run of minutes with little between them at a time.
//
// They are read in slices of no more events than are wanted, by and large: a minute of a
// busy site is a million rows to sort for the first fifty, and of a rare type all others
// are read too.
//
// What else a filter asks for only the rows tell. The fewer of them pass, the more are
// looked through at a time, until there are enough or it was maxScanned.
type page struct {
	tx    pgx.Tx
	limit int
	after position
	from  time.Time // the end of the way back, inclusive

	typ, source string      // what the rollups know of the filter; "" takes all
	where       filter.Expr // the whole filter, these two included
	exact       bool        // whether they are all of it

	items   []Event
	reach   int64     // how many events one statement looks through
	scanned int64     // how many were looked through, by and large
	passed  time.Time // everything from here on was looked through
}

// newPage makes a page of the newest events in [from, to); zero times are no bounds.
// The error is the answer for the client.
func newPage(in filter.Input, from, to time.Time, limit int) (p page, err error) {
	where, err := in.Expr()
	if err != nil {
		return p, err
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return p, query.Invalid("from", "must be before to", from.Format(time.RFC3339Nano))
	}
	p = page{limit: limit, from: from, typ: in.Type, source: in.Source, where: where, exact: in.Filter == ""}
	p.after.time = time.Now().UTC().Add(event.MaxFuture + time.Hour).Truncate(time.Minute) // past the newest that an event may be
	if !to.IsZero() {
		p.startAfter(position{time: to})
	}
	return p, nil
}

// startAfter skips the events up to a position, and that at it.
func (p *page) startAfter(at position) {
	if at.time.Before(p.after.time) {
		p.after = at
	}
}

// ask reads the page in one snapshot. The error is the answer for the client.
func (p *page) ask(ctx context.Context, r *query.Reader) (asOf time.Time, err error) {
	return r.Ask(ctx, func(ctx context.Context, tx pgx.Tx) error {
		p.tx = tx
		return p.read(ctx)
	})
}

func (p *page) read(ctx context.Context) error {
	if p.reach = ample(p.limit); !p.exact {
		p.reach *= guess
	}
	bounded := false
	// An hour before now holds a page of most sites; eight times that, seven times
	// over, is more than two centuries.
	end := span.Ceil(p.after.end(), time.Minute)
	for back := time.Hour + max(0, time.Until(end)); !p.done() && end.After(p.from); {
		start := end.Add(-back)
		runs, err := p.runs(ctx, start, end)
		if err != nil {
			return err
		}
		for _, r := range runs {
			if err := p.busy(ctx, r); err != nil {
				return err
			}
		}
		// Most pages are done by now. Where the rows begin takes a fifth of the time.
		if !p.done() && !bounded {
			oldest, err := p.oldest(ctx)
			if err != nil || oldest == nil {
				return err
			}
			if bounded = true; p.from.Before(*oldest) {
				p.from = *oldest
			}
		}
		if n := len(runs); n > 0 && !p.done() {
			end = runs[n-1].start // there may be more in the stretch, had more been asked for
			continue
		}
		end, back = start, back*8
	}
	return nil
}

// ample is how many events to expect in a stretch that shall hold n: they come by chance, and
// the number that does varies by its square root. One stretch in thirty holds fewer than the
// hundred that it shall.
func ample(n int) int64 { return int64(n) + 2*int64(math.Sqrt(float64(n))) }

func (p *page) full() bool { return len(p.items) >= p.limit }
func (p *page) need() int  { return p.limit - len(p.items) }

// spent reports whether the page has to end without being full.
func (p *page) spent() bool { return !p.exact && p.scanned >= maxScanned && !p.full() }
func (p *page) done() bool  { return p.full() || p.spent() }

// run is a stretch of whole minutes, and how many events of the type and source it holds.
type run struct {
	start, end time.Time
	events     int64
	usual      float64 // nanoseconds from one event to the next in the minute before, 0 when there are none
}

// busy reads a run newest first, in slices when it may hold many more events than
// one statement should look through. They are as long as they would be if its events were
// spread evenly, unless the first of them shows that they are not, as when traffic has stopped:
// ever longer ones would end with one that has too many.
func (p *page) busy(ctx context.Context, r run) error {
	end := r.end
	if next := p.after.end(); next.Before(end) {
		end = next
	}
	first, newest := end, r.end // from where the first slice is measured, and the density
	if now := time.Now(); r.start.Before(now) && now.Before(r.end) {
		newest = now // next to nothing is of the future
		if now.Before(end) {
			first = now.Add(-underway) // the newest are on their way still
		}
	}
	each := float64(newest.Sub(r.start)) / float64(r.events) // time from one event to the next
	left := r.events
	last := later(r.start, p.from)
	for at := first; !p.done() && end.After(last); at = end {
		start := later(at.Add(-max(time.Duration(each*float64(p.reach)), time.Millisecond)), last)
		before := len(p.items)
		if err := p.rows(ctx, start, end, math.MaxInt64); err != nil {
			return err
		}
		p.passed, end = start, start
		// What is of the future does not count, and no run is more than it holds.
		looked, found := int64(min(float64(max(at.Sub(start), 0))/each, float64(left))), int64(len(p.items)-before)
		if start.After(last) && p.uneven(looked, found) {
			var err error
			if end, each, err = p.find(ctx, last, start, r); err != nil {
				return err
			}
		} else {
			p.aim(looked, found)
		}
		left, p.scanned = left-looked, p.scanned+looked
	}
	return nil
}

// aim makes the next slice as long as the rest takes if as many pass as did of those looked
// through last, and four times as long as it was at most.
func (p *page) aim(looked, found int64) {
	most := min(p.reach*4, max(maxReach, p.reach))
	if found == 0 {
		p.reach = most
		return
	}
	rest := ample(p.need())
	p.reach = min(max(rest*looked/found, rest), most)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// rows reads what is wanted of a stretch; nothing of one that holds more than most, which would
// all be sorted.
func (p *page) rows(ctx context.Context, start, end time.Time, most int64) error {
	args := []any{start, end}
	bind := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	condition := "time >= $1 AND time < $2 AND " + p.where.SQL(bind)
	if end.After(p.after.time) { // else it is tried on each row for nothing
		condition += ` AND (time, id) < (` + bind(p.after.time) + `, ` + bind([16]byte(p.after.id)) + `)`
	}
	sql := `SELECT ` + columns + ` FROM events WHERE ` + condition
	if most < math.MaxInt64 {
		// Materialized, as PostgreSQL, when it knows that a few rows will do, prefers to read the
		// table from its beginning until they come.
		n := bind(most)
		sql = `
WITH found AS MATERIALIZED (SELECT * FROM events WHERE ` + condition + `),
     few AS MATERIALIZED (SELECT * FROM found LIMIT ` + n + `::bigint + 1)
SELECT ` + columns + ` FROM few WHERE (SELECT count(*) FROM few) <= ` + n
	}
	sql += `
ORDER BY time DESC, id DESC
LIMIT ` + bind(p.need())
	rows, err := p.tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	items, err := pgx.CollectRows(rows, scan)
	p.items = append(p.items, items...)
	return err
}

// newer counts the events of the minutes that come first in the order, so that no
// minute is listed that the page does not reach, but for the one before these. The keys are an array, because a join
// may read the log of deltas once for each of them: it did, for 80 ms.
const minutesSQL = `
SELECT bucket, events, newer < $6
FROM (
    SELECT bucket, sum(events)::bigint AS events, sum(sum(events)) OVER (ORDER BY bucket DESC) - sum(events) AS newer,
           coalesce(sum(sum(events)) OVER (ORDER BY bucket DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING), 0) AS newer_still
    FROM minutes
    WHERE bucket >= $1 AND bucket < $2 AND dimension = $3
      AND key_id = ANY (ARRAY(SELECT id FROM rollup_keys WHERE dimension = $3 AND ($4 = '' OR type = $4) AND value = $5))
    GROUP BY bucket
) AS minute
WHERE newer_still < $6
ORDER BY bucket DESC`

// runs lists the minutes in the stretch that hold events, newest first, as far as the page
// may need them. Adjacent ones are joined, and those with little between them, unless one
// statement should not look through both.
func (p *page) runs(ctx context.Context, start, end time.Time) (list []run, err error) {
	dimension := rollup.All // its value is "", as is a source that is not asked for
	if p.source != "" {
		dimension = rollup.Source
	}
	rows, err := p.tx.Query(ctx, minutesSQL, start, end, int16(dimension), p.typ, p.source, max(int64(p.need()), p.reach))
	if err != nil {
		return nil, err
	}
	var minute time.Time
	var events int64
	var needed bool // or only the minute before
	_, err = pgx.ForEachRow(rows, []any{&minute, &events, &needed}, func() error {
		if n := len(list) - 1; n >= 0 && list[n].start.Equal(minute.Add(time.Minute)) {
			list[n].usual = float64(time.Minute) / float64(max(events, 1))
		}
		if needed {
			list = append(list, run{start: minute, end: minute.Add(time.Minute), events: events})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if list = p.join(list, 0); len(list) <= fewRuns {
		return list, nil
	}
	gap, err := p.gap(ctx, list)
	return p.join(list, gap), err
}

// join joins runs that have no more than a gap between them.
func (p *page) join(list []run, gap time.Duration) []run {
	joined := list[:0]
	for _, r := range list {
		if n := len(joined) - 1; n >= 0 && joined[n].start.Sub(r.end) <= gap && joined[n].events+r.events <= p.reach {
			joined[n] = run{start: r.start, end: joined[n].end, events: joined[n].events + r.events, usual: r.usual}
		} else {
			joined = append(joined, r)
		}
	}
	return joined
}

// fewRuns are read one by one. Of more it is asked how far apart they may be.
const fewRuns = 4

// gap is how long it takes until bridge events come, of all types and sources, by the last
// two days that the runs are in. On a site of 70 events a minute, an event in a hundred has
// its minute for itself.
func (p *page) gap(ctx context.Context, list []run) (time.Duration, error) {
	from, to := list[len(list)-1].start.Truncate(time.Hour), list[0].end
	if recent := to.Add(-48 * time.Hour).Truncate(time.Hour); from.Before(recent) {
		from = recent
	}
	var events float64
	err := p.tx.QueryRow(ctx, `SELECT coalesce(sum(events), 0)::float8 FROM hours WHERE dimension = 0 AND bucket >= $1 AND bucket < $2`, from, to).Scan(&events)
	return time.Duration(bridge / max(events, 1) * float64(to.Sub(from))), err
}

// oldest is where the rows begin, nil when there are none. Rollups may reach further
// back: they are kept longer.
func (p *page) oldest(ctx context.Context) (t *time.Time, err error) {
	err = p.tx.QueryRow(ctx, `
SELECT min(range_start)
FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema() AND hypertable_name = 'events'`).Scan(&t)
	return t, err
}
