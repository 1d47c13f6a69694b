package explorer

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/migrations"
	"weir/services/api/internal/filter"
	"weir/services/shared/event"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestAStretchHoldsEnoughAndNotMuchMore, whatever the minute looks like: too few, and there is
// another statement, too many, and all of them are sorted.
func TestAStretchHoldsEnoughAndNotMuchMore(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	_, err := migrations.Up(t.Context(), box.PostgresURL)
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), box.PostgresURL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	minute := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return minute.Add(time.Duration(seconds * float64(time.Second))) }
	fill := func(from, every float64, n int) {
		_, err := conn.Exec(t.Context(), `
			INSERT INTO events (id, time, type, source)
			SELECT gen_random_uuid(), $1::timestamptz + i * $2::float8 * interval '1 s', CASE WHEN i % 10 = 0 THEN 'click' ELSE 'page_view' END, 'shop'
			FROM generate_series(0, $3 - 1) AS i`, at(from), every, n)
		require.NoError(t, err)
	}
	fill(0, 0.001, 2000)        // stops,
	fill(20, 0.001, 2000)       // and again,
	fill(30, 0.5, 40)           // becomes slow,
	fill(55, 0.000_000_01, 900) // and ends by a thousand in a hundredth of a millisecond

	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	// Whatever is said of what is usual: nothing, something right, or something wrong.
	usuals := []float64{0, 1e6, 1e3, 1e4, 1e7, 1e8}
	for name, c := range map[string]struct {
		end   float64
		limit int
		typ   string
		atMin float64 // where more come at once: the stretch begins at that or later
		all   bool    // there are no more
	}{
		"after it stopped":        {end: 19, limit: 100},
		"after it slowed down":    {end: 50, limit: 100},
		"while it was slow":       {end: 50, limit: 10},
		"many at once":            {end: 60, limit: 100, atMin: 54.99},
		"one type":                {end: 19, limit: 10, typ: "click"},
		"most of them":            {end: 19, limit: 1900},
		"more than there are":     {end: 19, limit: 2001, all: true},
		"of a type that is not":   {end: 60, limit: 1, typ: "none", all: true},
		"where there is none yet": {end: 0, limit: 1, all: true},
	} {
		for _, usual := range usuals {
			p := page{tx: tx, limit: c.limit, exact: true, typ: c.typ}
			end, of := at(c.end), run{start: minute, events: 4940, usual: usual}
			begins, err := p.stretch(t.Context(), minute, end, of)
			require.NoError(t, err, name)
			if c.all {
				require.WithinDuration(t, minute, begins, time.Millisecond, name)
				continue
			}
			var held int
			require.NoError(t, tx.QueryRow(t.Context(), `SELECT count(*) FROM events WHERE time >= $1 AND time < $2 AND ($3 = '' OR type = $3)`, begins, end, c.typ).Scan(&held))
			require.GreaterOrEqual(t, held, c.limit, name)
			_, spread := of.last(1)
			if c.atMin > 0 {
				require.False(t, begins.Before(at(c.atMin)), "%s: %s", name, begins)
			} else {
				require.LessOrEqual(t, held, max(4*c.limit, c.limit+2*int(spread)), name)
			}
		}
	}

	// And nothing is left out by a page, nor given twice.
	for _, end := range []float64{19, 25, 30.25, 52, 60} {
		for _, typ := range []string{"", "click"} {
			rows, err := tx.Query(t.Context(), `SELECT id FROM events WHERE time < $1 AND ($2 = '' OR type = $2) ORDER BY time DESC, id DESC`, at(end), typ)
			require.NoError(t, err)
			all, err := pgx.CollectRows(rows, pgx.RowTo[event.UUID])
			require.NoError(t, err)
			for _, usual := range usuals {
				for _, limit := range []int{1, 10, 100, 1500, 5000} {
					in := filter.Input{Type: typ}
					p, err := newPage(in, time.Time{}, at(end), limit)
					require.NoError(t, err)
					p.tx, p.reach = tx, ample(limit)
					require.NoError(t, p.busy(t.Context(), run{start: minute, end: minute.Add(time.Minute), events: int64(len(all)), usual: usual}))
					got := make([]event.UUID, len(p.items))
					for i := range p.items {
						got[i] = p.items[i].position().id
					}
					require.Equal(t, all[:min(limit, len(all))], got, "%v %q %v %d", end, typ, usual, limit)
				}
			}
		}
	}
}

// TestWhereTheLastOfAMinuteLikelyAre: 10,000 at 500 a second end after 20 s; the last 100 are in
// the last fifth of a second, and in 0.8 s more if there were 400 more or fewer.
func TestWhereTheLastOfAMinuteLikelyAre(t *testing.T) {
	t.Parallel()
	r := run{start: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), events: 10_000, usual: 2e6}
	begins, spread := r.last(100)
	require.EqualValues(t, 400, spread)
	require.Equal(t, r.start.Add(19*time.Second), begins)
	r.usual = 0
	begins, spread = r.last(100)
	require.Zero(t, begins)
	require.Zero(t, spread)
}

// TestFewOfThoseThatShouldBeThereAreAReasonToLook, but no more than chance leaves out.
func TestFewOfThoseThatShouldBeThereAreAReasonToLook(t *testing.T) {
	for name, c := range map[string]struct {
		exact         bool
		scanned       int64
		looked, found int64
		want          bool
	}{
		"none of what all pass":                    {exact: true, looked: 120, want: true},
		"few of what all pass":                     {exact: true, looked: 120, found: 3, want: true},
		"as many as come by chance":                {exact: true, looked: 120, found: 90},
		"enough":                                   {exact: true, looked: 500, found: 100},
		"none of what nobody knows":                {looked: 240, want: true},
		"few of what nobody knows":                 {looked: 240, found: 1},
		"none, as before":                          {scanned: 240, looked: 240},
		"none where none should be, as in a blink": {exact: true},
	} {
		p := page{limit: 100, exact: c.exact, scanned: c.scanned, items: make([]Event, c.found)}
		require.Equal(t, c.want, p.uneven(c.looked, c.found), name)
	}
}
