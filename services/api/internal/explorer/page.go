package explorer

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/services/shared/rollup"
)

// filter narrows the events; "" takes all.
type filter struct{ Type, Source string }

// page reads up to limit events that come after a position.
//
// Raw rows have no index that gives them in order, as no writer should pay for one:
// a block range index finds the rows of a stretch of time, and these are sorted. So
// the stretches must be small, and few of them empty. The rollups, which equal the
// rows in the same snapshot, say which minutes hold the events that are wanted:
//
//  1. the rest of the position's own minute;
//  2. the minutes before it that hold events, from the rollups, looking further
//     back each time until they hold enough or the oldest chunk is passed;
//  3. those minutes' rows, a run of adjacent minutes at a time.
type page struct {
	tx    pgx.Tx
	limit int
	after position
	filter
	items []Event
}

func (p *page) read(ctx context.Context) error {
	own := p.after.time.Truncate(time.Minute)
	if err := p.busy(ctx, run{own, p.after.time.Add(time.Microsecond), 0}); err != nil || p.full() {
		return err
	}
	oldest, err := p.oldest(ctx)
	if err != nil || oldest == nil {
		return err
	}
	// An hour before now holds a page of most sites; eight times that, seven times
	// over, is more than two centuries.
	back := time.Hour + max(0, time.Until(own))
	for end := own; !p.full() && end.After(*oldest); back *= 8 {
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
		end = start
	}
	return nil
}

func (p *page) full() bool { return len(p.items) >= p.limit }
func (p *page) need() int  { return p.limit - len(p.items) }

// run is a stretch of whole minutes. events is how many of those wanted it holds, 0
// when that is not known.
type run struct {
	start, end time.Time
	events     int64
}

// crowded is how many times more events than needed a minute holds for it to be
// worth reading in slices.
const crowded = 8

// busy reads a run newest first, in slices when it may hold many more events than
// are needed: a minute of a busy site is a million rows to sort for the first fifty.
func (p *page) busy(ctx context.Context, r run) error {
	slice := r.end.Sub(r.start)
	switch {
	case r.events == 0:
		slice = 250 * time.Millisecond // 5,000 rows at 20,000 a second
	case r.events > crowded*int64(p.need()):
		slice = max(time.Duration(float64(slice)*2*float64(p.need())/float64(r.events)), time.Millisecond)
	}
	for end := r.end; !p.full() && end.After(r.start); slice *= 8 {
		start := end.Add(-slice)
		if start.Before(r.start) {
			start = r.start
		}
		if err := p.rows(ctx, start, end); err != nil {
			return err
		}
		end = start
	}
	return nil
}

const rowsSQL = `
SELECT ` + columns + `
FROM events
WHERE time >= $1 AND time < $2
  AND (time, id) < ($3, $4)
  AND ($5 = '' OR type = $5) AND ($6 = '' OR source = $6)
ORDER BY time DESC, id DESC
LIMIT $7`

func (p *page) rows(ctx context.Context, start, end time.Time) error {
	rows, err := p.tx.Query(ctx, rowsSQL, start, end, p.after.time, [16]byte(p.after.id), p.Type, p.Source, p.need())
	if err != nil {
		return err
	}
	items, err := pgx.CollectRows(rows, scan)
	p.items = append(p.items, items...)
	return err
}

// newer counts the events of the minutes that come first in the order, so that no
// minute is listed that the page does not reach.
const minutesSQL = `
SELECT bucket, events
FROM (
    SELECT bucket, sum(events)::bigint AS events, sum(sum(events)) OVER (ORDER BY bucket DESC) - sum(events) AS newer
    FROM minutes
    WHERE bucket >= $1 AND bucket < $2 AND dimension = $3
      AND key_id IN (SELECT id FROM rollup_keys WHERE dimension = $3 AND ($4 = '' OR type = $4) AND value = $5)
    GROUP BY bucket
) AS minute
WHERE newer < $6
ORDER BY bucket DESC`

// runs lists the minutes in the stretch that hold events, adjacent ones joined
// unless they are crowded, newest first, as far as the page needs them.
func (p *page) runs(ctx context.Context, start, end time.Time) (list []run, err error) {
	dimension := rollup.All // its value is "", as is a source that is not asked for
	if p.Source != "" {
		dimension = rollup.Source
	}
	rows, err := p.tx.Query(ctx, minutesSQL, start, end, int16(dimension), p.Type, p.Source, p.need())
	if err != nil {
		return nil, err
	}
	var minute time.Time
	var events int64
	_, err = pgx.ForEachRow(rows, []any{&minute, &events}, func() error {
		n := len(list)
		if n > 0 && list[n-1].start.Equal(minute.Add(time.Minute)) && events <= crowded*int64(p.need()) {
			list[n-1].start, list[n-1].events = minute, list[n-1].events+events
		} else {
			list = append(list, run{minute, minute.Add(time.Minute), events})
		}
		return nil
	})
	return list, err
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
