package api_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestPathsAreWhatTheRowsSay(t *testing.T) {
	t.Parallel()
	w, from, to := visited(t)
	mine := map[string][]rawEvent{}
	for _, e := range w.raw("session_id IS NOT NULL") {
		mine[e.session] = append(mine[e.session], e)
	}
	for _, direction := range []string{"after", "before"} {
		want, sessions := map[string]int64{}, int64(0)
		for _, events := range mine {
			for i, e := range events {
				if e.typ != "add_to_cart" || e.time.Before(from) || !e.time.Before(to) {
					continue
				}
				some := events[i:min(i+3, len(events))]
				if direction == "before" {
					some = events[max(0, i-2) : i+1]
				}
				names := []string{}
				for _, e := range some {
					names = append(names, e.typ)
				}
				want[fmt.Sprint(names)]++
				sessions++
				break
			}
		}
		var got struct {
			Sessions, Other int64
			Paths           []struct {
				Path     []string
				Sessions int64
			}
		}
		w.ok("/v1/paths", ranged(from, to, "start", `type is "add_to_cart"`, "direction", direction, "steps", "2", "limit", "50"), &got)
		require.Equal(t, sessions, got.Sessions)
		paths := map[string]int64{}
		for _, p := range got.Paths {
			paths[fmt.Sprint(p.Path)] = p.Sessions
		}
		require.Equal(t, want, paths)
	}
}

type transition struct {
	Step     int
	From, To string
	Other    bool
	Sessions int64
}

// transitions counts, with window functions over the rows, how many sessions went from one
// event to the next, at each step after their first start or before it: those of each step
// in the order of the answer.
func (w *world) transitions(start, where, direction, by string, steps int, from, to time.Time) []transition {
	w.t.Helper()
	name, followed := "type", "true"
	if by == "path" {
		name, followed = "coalesce(path, '')", "type = 'page_view' OR starts"
	}
	rows, err := w.pool.Query(w.t.Context(), `
		WITH kept AS (
			SELECT session_id, time, id, type, `+name+` AS name, time >= $1 AND time < $2 AND (`+start+`) AS starts
			FROM events WHERE session_id IS NOT NULL AND (`+where+`)
		), placed AS (
			SELECT session_id, name, starts, row_number() OVER (PARTITION BY session_id ORDER BY time, id) AS n FROM kept WHERE `+followed+`
		), pair AS (
			SELECT n - min(n) FILTER (WHERE starts) OVER (PARTITION BY session_id) AS past,
			       name AS earlier, lead(name) OVER (PARTITION BY session_id ORDER BY n) AS later
			FROM placed
		), stepped AS (
			SELECT CASE WHEN $3 = 'before' THEN -past ELSE past + 1 END AS step, earlier, later FROM pair WHERE later IS NOT NULL
		)
		SELECT step, earlier, later, false, count(*) FROM stepped WHERE step BETWEEN 1 AND $4
		GROUP BY 1, 2, 3 ORDER BY 1, 5 DESC, earlier COLLATE "C", later COLLATE "C"`, from, to, direction, steps)
	require.NoError(w.t, err)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[transition])
	require.NoError(w.t, err)
	return list
}

// shortened keeps so many transitions of each step, and sums the rest of it.
func shortened(list []transition, limit int) (short []transition) {
	n := 0
	for i, tr := range list {
		if i == 0 || list[i-1].Step != tr.Step {
			n = 0
		}
		switch n++; {
		case n <= limit:
			short = append(short, tr)
		case n == limit+1:
			short = append(short, transition{Step: tr.Step, Other: true, Sessions: tr.Sessions})
		default:
			short[len(short)-1].Sessions += tr.Sessions
		}
	}
	return short
}

func TestTransitionsOfEveryStepAreWhatPlainSQLCounts(t *testing.T) {
	t.Parallel()
	w, from, to := visited(t)
	for _, c := range []struct{ start, startSQL, filter, where string }{
		{`type is "add_to_cart"`, `type = 'add_to_cart'`, ``, `true`},
		{`path in ("/1", "/3")`, `path IN ('/1', '/3')`, `not type is "click"`, `type <> 'click'`},
		{`properties.plan is "team"`, `properties ->> 'plan' = 'team'`, `country exists`, `country IS NOT NULL`},
	} {
		for _, direction := range []string{"after", "before"} {
			for _, by := range []string{"type", "path"} {
				const steps = 4
				want := w.transitions(c.startSQL, c.where, direction, by, steps, from, to)
				require.Greater(t, want[len(want)-1].Step, 1)
				for _, limit := range []int{2, 50} { // 50 are all: there are seven paths
					var got struct{ Transitions []transition }
					w.ok("/v1/paths", ranged(from, to, "start", c.start, "filter", c.filter, "direction", direction, "by", by,
						"steps", strconv.Itoa(steps), "limit", strconv.Itoa(limit)), &got)
					require.Equal(t, shortened(want, limit), got.Transitions, "%v %s, by %s, limit %d", c, direction, by, limit)
				}
			}
		}
	}
}
