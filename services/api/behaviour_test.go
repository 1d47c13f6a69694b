package api_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

// visits are events of sessions from before a range to after it: in no order, with
// events at the same time and at the borders, some of users and some of visitors.
func visits(from, to time.Time) (events []event.Event) {
	types := []string{"page_view", "page_view", "page_view", "click", "add_to_cart", "purchase"}
	for session := range 200 {
		at := from.Add(-50*time.Minute + rand.N(to.Sub(from)+70*time.Minute)).Truncate(time.Second)
		if session%10 == 0 {
			at = from.Add(time.Duration(session%3-1) * time.Microsecond)
		}
		if session%10 == 1 {
			at = to.Add(time.Duration(session%3-1) * time.Microsecond)
		}
		for range 1 + rand.N(8) {
			e := event.Event{ID: event.NewID(at), Type: types[rand.N(len(types))], Time: at.UTC(), Source: "web",
				AnonymousID: "a" + strconv.Itoa(session%40), SessionID: "s" + strconv.Itoa(session), Country: []string{"DE", "FR", ""}[session%3]}
			if session%2 == 0 {
				e.UserID = "u" + strconv.Itoa(session%30)
			}
			if e.Type == "page_view" && rand.N(10) > 0 {
				e.Path = "/" + strconv.Itoa(rand.N(6))
			}
			e.Device, e.Browser, e.OS = []string{"mobile", "desktop", ""}[session%3], []string{"Firefox", ""}[session%2], []string{"Linux", "Windows", ""}[rand.N(3)]
			e.Source, e.Referrer = []string{"web", "web", "app"}[rand.N(3)], []string{"https://example.com", ""}[rand.N(2)]
			e.Properties = []string{"", `{"plan": "team"}`, `{"plan": "solo"}`}[rand.N(3)]
			events = append(events, e)
			if rand.N(3) > 0 { // the others share the time
				at = at.Add(time.Duration(rand.N(120)) * time.Second)
			}
		}
	}
	for range 50 { // without a session
		events = append(events, pageView(from.Add(rand.N(to.Sub(from)))))
	}
	rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	return events
}

// visited stores visits in several batches, a part of them folded, and starts the api.
func visited(t *testing.T) (w *world, from, to time.Time) {
	t.Helper()
	w = newWorld(t, harness.NewSandbox(t))
	from = time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC)
	to = from.Add(5 * time.Hour)
	events := visits(from, to)
	w.store(events[:len(events)/2]...)
	w.fold()
	w.store(events[len(events)/2:]...)
	return w.start(), from, to
}

func ranged(from, to time.Time, more ...string) url.Values {
	v := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
	for i := 0; i < len(more); i += 2 {
		v.Add(more[i], more[i+1])
	}
	return v
}

func TestSessionsAreWhatSQLFindsInTheRows(t *testing.T) {
	t.Parallel()
	w, from, to := visited(t)
	type page struct {
		Path     string
		Sessions int64
	}
	for filter, condition := range map[string]string{"": "true", `country is "DE"`: "country = 'DE'", `country is "nowhere"`: "false"} {
		var got struct {
			Meta             answeredMeta
			Sessions, Events int64
			EventsPerSession float64 `json:"events_per_session"`
			Length           struct {
				Mean   float64 `json:"mean_seconds"`
				Median float64 `json:"median_seconds"`
				P90    float64 `json:"p90_seconds"`
			}
			Bounces    int64
			BounceRate float64 `json:"bounce_rate"`
			EntryPages []page  `json:"entry_pages"`
			EntryOther int64   `json:"entry_other"`
			ExitPages  []page  `json:"exit_pages"`
			ExitOther  int64   `json:"exit_other"`
		}
		w.ok("/v1/sessions", ranged(from, to, "filter", filter, "limit", "3"), &got)
		require.Equal(t, "raw", got.Meta.ServedBy)
		require.True(t, got.Meta.From.Equal(from) && got.Meta.To.Equal(to))

		sessions := `WITH session AS (
			SELECT session_id, count(*) AS events, count(*) FILTER (WHERE type = 'page_view') AS views,
			       extract(epoch FROM max(time) - min(time))::float8 AS length
			FROM events WHERE ` + condition + ` AND session_id IS NOT NULL GROUP BY 1 HAVING min(time) >= $1 AND min(time) < $2
		) `
		var mean, median, p90 *float64
		var count, events, bounces int64
		require.NoError(t, w.pool.QueryRow(t.Context(), sessions+`
			SELECT count(*), coalesce(sum(events), 0)::bigint, count(*) FILTER (WHERE views = 1 OR views = 0 AND events = 1), avg(length),
			       percentile_cont(0.5) WITHIN GROUP (ORDER BY length), percentile_cont(0.9) WITHIN GROUP (ORDER BY length)
			FROM session`, from, to).Scan(&count, &events, &bounces, &mean, &median, &p90))
		require.Equal(t, []int64{count, events, bounces}, []int64{got.Sessions, got.Events, got.Bounces})
		if condition == "false" {
			require.Zero(t, count)
			require.Empty(t, got.EntryPages)
			continue
		}
		require.Greater(t, count, int64(20))
		require.InDelta(t, float64(events)/float64(count), got.EventsPerSession, 1e-9)
		require.InDelta(t, float64(bounces)/float64(count), got.BounceRate, 1e-9)
		require.InDeltaSlice(t, []float64{*mean, *median, *p90}, []float64{got.Length.Mean, got.Length.Median, got.Length.P90}, 1e-6)

		pages := func(order string) (list []page) {
			rows, err := w.pool.Query(t.Context(), sessions+`
				SELECT path, count(*) FROM session LEFT JOIN LATERAL (
					SELECT path FROM events WHERE events.session_id = session.session_id AND type = 'page_view' AND `+condition+`
					ORDER BY `+order+` LIMIT 1) AS page ON true
				WHERE path IS NOT NULL GROUP BY path ORDER BY 2 DESC, 1`, from, to)
			require.NoError(t, err)
			for rows.Next() {
				var p page
				require.NoError(t, rows.Scan(&p.Path, &p.Sessions))
				list = append(list, p)
			}
			require.NoError(t, rows.Err())
			return list
		}
		for _, c := range []struct {
			order string
			top   []page
			other int64
		}{{"time, path NULLS FIRST", got.EntryPages, got.EntryOther}, {"time DESC, path NULLS FIRST", got.ExitPages, got.ExitOther}} {
			want := pages(c.order)
			require.Equal(t, want[:3], c.top)
			for _, p := range c.top {
				count -= p.Sessions
			}
			require.Equal(t, count, c.other)
			count = got.Sessions
		}
	}
}

type answeredMeta struct {
	From, To time.Time
	ServedBy string    `json:"served_by"`
	AsOf     time.Time `json:"as_of"`
}

// rawEvent is a row as the tests' own computations need it.
type rawEvent struct {
	who, session, typ, path, country string
	time                             time.Time
	takes                            []bool // which of the conditions that were asked about do
}

// raw reads rows plainly, in the order of time and id.
func (w *world) raw(where string, conditions ...string) (list []rawEvent) {
	w.t.Helper()
	takes := make([]string, len(conditions))
	for i, c := range conditions {
		takes[i] = "(" + c + ") IS TRUE"
	}
	rows, err := w.pool.Query(w.t.Context(), `SELECT coalesce(user_id, anonymous_id), coalesce(session_id, ''), type, coalesce(path, ''), coalesce(country, ''), time,
			ARRAY[`+strings.Join(takes, ", ")+`]::bool[]
		FROM events WHERE `+where+` ORDER BY time, id`)
	require.NoError(w.t, err)
	for rows.Next() {
		var e rawEvent
		require.NoError(w.t, rows.Scan(&e.who, &e.session, &e.typ, &e.path, &e.country, &e.time, &e.takes))
		list = append(list, e)
	}
	require.NoError(w.t, rows.Err())
	return list
}

func TestRetentionIsWhatTheRowsSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	// The clocks go forward on 29 March: that day has 23 hours.
	first := time.Date(2026, 3, 26, 0, 0, 0, 0, zone)
	var events []event.Event
	for range 1500 {
		at := first.Add(-12*time.Hour + rand.N(8*24*time.Hour)).Truncate(time.Hour) // many on a day's border
		e := pageView(at)
		e.UserID = "u" + strconv.Itoa(rand.N(200))
		if rand.N(4) == 0 {
			e.Type = "purchase"
		}
		if rand.N(5) == 0 {
			e.Type = "signup"
		}
		events = append(events, e)
	}
	w.store(events...)
	w.start()
	to := time.Date(2026, 4, 1, 12, 0, 0, 0, zone)
	var got struct {
		Meta    struct{ Period, Timezone string }
		Cohorts []struct {
			Period   time.Time
			Users    int64
			Returned []int64
			Share    []float64
		}
	}
	w.ok("/v1/retention", ranged(first.Add(7*time.Hour), to, "timezone", "Europe/Berlin", "start", `type is "signup"`, "return", `type is "purchase"`), &got)
	day := func(t time.Time) int {
		y, m, d := t.In(zone).Date()
		return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Sub(time.Date(2026, 3, 26, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour))
	}
	joined, came := map[string]int{}, map[string]map[int]bool{}
	for _, e := range w.raw("true") {
		if e.time.Before(first) || !e.time.Before(to) {
			continue
		}
		switch e.typ {
		case "signup":
			if _, ok := joined[e.who]; !ok {
				joined[e.who] = day(e.time)
			}
		case "purchase":
			if came[e.who] == nil {
				came[e.who] = map[int]bool{}
			}
			came[e.who][day(e.time)] = true
		}
	}
	require.Len(t, got.Cohorts, 7)
	for i, c := range got.Cohorts {
		require.True(t, c.Period.Equal(time.Date(2026, 3, 26+i, 0, 0, 0, 0, zone)), c.Period)
		var users int64
		returned := make([]int64, 6-i)
		for who, d := range joined {
			if d != i {
				continue
			}
			users++
			for k := range returned {
				if came[who][i+1+k] {
					returned[k]++
				}
			}
		}
		require.Equal(t, users, c.Users)
		require.Equal(t, returned, c.Returned)
		require.Len(t, c.Share, len(returned))
		for k, share := range c.Share {
			require.InDelta(t, float64(returned[k])/float64(max(users, 1)), share, 1e-9)
		}
	}
	w.ok("/v1/retention", url.Values{"period": {"week"}}, &got) // without a range: what is now
	require.Len(t, got.Cohorts, 8)
}

// Periods begin where PostgreSQL's date_trunc has them, in zones that shift by an hour or
// by half an hour, or are half an hour off; events are on every border.
func TestRetentionOfAnyPeriodIsWhatSQLSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	from, to := time.Date(2026, 9, 20, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC)
	var events []event.Event
	for range 2000 {
		at := from.Add(rand.N(to.Sub(from))).Truncate(30 * time.Minute).Add(-time.Duration(rand.N(2)) * time.Microsecond)
		e := pageView(at)
		e.UserID = "u" + strconv.Itoa(rand.N(300))
		events = append(events, e)
	}
	w.store(events...)
	w.start()
	for _, zone := range []string{"Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata"} {
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		for period, first := range map[string]time.Time{ // the clocks change on 25 October there, on 4 October here
			"day": time.Date(2026, 10, 1, 0, 0, 0, 0, loc), "week": time.Date(2026, 9, 21, 0, 0, 0, 0, loc), "month": time.Date(2026, 10, 1, 0, 0, 0, 0, loc),
		} {
			end := time.Date(2026, 10, 28, 12, 0, 0, 0, loc)
			var got struct {
				Cohorts []struct {
					Period   time.Time
					Users    int64
					Returned []int64
				}
			}
			w.ok("/v1/retention", ranged(first, end, "period", period, "timezone", zone), &got)
			rows, err := w.pool.Query(t.Context(), `
				WITH seen AS (
					SELECT DISTINCT user_id, date_trunc($3, time, $4) AS period FROM events WHERE time >= $1 AND time < $2
				), cohort AS (
					SELECT user_id, min(period) AS began FROM seen GROUP BY 1
				)
				SELECT began, period, count(*) FROM cohort JOIN seen USING (user_id) GROUP BY 1, 2`, first, end, period, zone)
			require.NoError(t, err)
			want := map[[2]int64]int64{}
			var began, at time.Time
			var n int64
			_, err = pgx.ForEachRow(rows, []any{&began, &at, &n}, func() error { want[[2]int64{began.Unix(), at.Unix()}] = n; return nil })
			require.NoError(t, err)
			have := map[[2]int64]int64{}
			for i, c := range got.Cohorts {
				for k, n := range append([]int64{c.Users}, c.Returned...) {
					if n > 0 {
						have[[2]int64{c.Period.Unix(), got.Cohorts[i+k].Period.Unix()}] = n
					}
				}
			}
			require.Equal(t, want, have, "%s %s", zone, period)
		}
	}
}

func TestBehaviourQuestionsRefuseBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	const hostile = `type is "'; DROP TABLE events; --`
	long := []string{"from", "2026-01-01T00:00:00Z", "to", "2026-03-01T00:00:00Z"}
	step := []string{"step", `type is "a"`}
	for _, c := range []struct {
		path, parameter string
		params          []string
	}{
		{"/v1/sessions", "from", long},
		{"/v1/sessions", "from", []string{"from", "2026-01-02T00:00:00Z", "to", "2026-01-01T00:00:00Z"}},
		{"/v1/sessions", "to", []string{"to", "0000-01-01T00:00:00Z"}},
		{"/v1/sessions", "filter", []string{"filter", hostile}},
		{"/v1/sessions", "filter", []string{"filter", `path is "a\u0000b"`}},
		{"/v1/sessions", "filter", []string{"filter", "path is \"a\x00b\""}},
		{"/v1/sessions", "limit", []string{"limit", "51"}},
		{"/v1/sessions", "colour", []string{"colour", "red"}},
		{"/v1/funnel", "step", nil},
		{"/v1/funnel", "step", step},
		{"/v1/funnel", "step[1]", append(step, "step", hostile)},
		{"/v1/funnel", "step", []string{"step", "1", "step", "2", "step", "3", "step", "4", "step", "5", "step", "6", "step", "7", "step", "8", "step", "9", "step", "10", "step", "11"}},
		{"/v1/funnel", "window", append(append([]string{}, step...), "step", "", "window", "31d")},
		{"/v1/funnel", "group_by", append(append([]string{}, step...), "step", "", "group_by", hostile)},
		{"/v1/funnel", "from", append(append([]string{}, step...), append([]string{"step", ""}, long...)...)},
		{"/v1/retention", "from", append([]string{"period", "day"}, long...)},
		{"/v1/retention", "from", []string{"period", "month", "from", "2020-01-01T00:00:00Z", "to", "2026-01-01T00:00:00Z"}},
		{"/v1/retention", "period", []string{"period", "hour"}},
		{"/v1/retention", "timezone", []string{"timezone", "../../etc/passwd"}},
		{"/v1/retention", "timezone", []string{"timezone", "Local"}},
		{"/v1/retention", "start", []string{"start", hostile}},
		{"/v1/retention", "return", []string{"return", hostile}},
		{"/v1/retention", "from", []string{"from", "0000-01-01T00:00:00Z"}},
		{"/v1/retention", "to", []string{"to", "9999-01-01T00:00:00Z"}},
		{"/v1/paths", "start", nil},
		{"/v1/paths", "start", []string{"start", hostile}},
		{"/v1/paths", "direction", []string{"start", "", "direction", "sideways"}},
		{"/v1/paths", "steps", []string{"start", "", "steps", "6"}},
		{"/v1/paths", "by", []string{"start", "", "by", "colour"}},
		{"/v1/events", "from", []string{"from", "2026-01-02T00:00:00Z", "to", "2026-01-01T00:00:00Z"}},
		{"/v1/events", "filter", []string{"filter", hostile}},
		{"/v1/export", "filter", []string{"filter", hostile}},
		{"/v1/export", "format", []string{"format", "xml"}},
		{"/v1/export", "from", []string{"from", "2026-01-02T00:00:00Z", "to", "2026-01-01T00:00:00Z"}},
	} {
		params := url.Values{}
		for i := 0; i < len(c.params); i += 2 {
			params.Add(c.params[i], c.params[i+1])
		}
		var p problem
		response := w.get(c.path, params, &p)
		require.Equal(t, http.StatusUnprocessableEntity, response.StatusCode, "%v: %v", c, p)
		require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
		text, err := json.Marshal(p)
		require.NoError(t, err)
		require.Contains(t, string(text), "query."+c.parameter, "%v", c)
	}
}
