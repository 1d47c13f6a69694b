package api_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/api/internal/behaviour"
	"weir/services/shared/event"
)

// TestWhatIsRememberedIsWhatTheRowsSay asks the same again and again while late events
// come into days, hours and minutes that were asked about before, some in the log and
// some folded: the answer from rollups is always that from the rows.
func TestWhatIsRememberedIsWhatTheRowsSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("API_ROLLUP_MEMORY_MIB", "1")
	r := chance(t)
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	from := time.Date(2026, 3, 1, 21, 58, 0, 0, time.UTC)
	to := from.Add(4*24*time.Hour + 4*time.Hour + 4*time.Minute)
	span := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
	with := func(pairs ...string) url.Values {
		p := url.Values{"from": span["from"], "to": span["to"]}
		for i := 0; i < len(pairs); i += 2 {
			p.Set(pairs[i], pairs[i+1])
		}
		return p
	}
	questions := []struct {
		path   string
		params url.Values
	}{
		{"/v1/metrics/summary", with("metrics", "users,sessions")},
		{"/v1/metrics/users", with("type", "click")},
		{"/v1/metrics/top", with("by", "path", "type", "page_view", "limit", "3")},
		{"/v1/metrics/breakdown", with("rows", "type", "columns", "country")},
		{"/v1/metrics/timeseries", with("interval", "hour")},
		{"/v1/metrics/timeseries", with("interval", "hour", "type", "click", "timezone", "Asia/Kolkata")},
		{"/v1/metrics/timeseries", with("interval", "day", "group_by", "path", "limit", "2")},
		{"/v1/metrics/timeseries", with("interval", "week", "group_by", "type", "timezone", "Europe/Berlin")},
		{"/v1/metrics/timeseries", with("interval", "day", "metrics", "users,sessions")},
		{"/v1/metrics/timeseries", with("interval", "hour", "metrics", "users", "type", "click", "timezone", "Asia/Kolkata")},
		{"/v1/metrics/timeseries", with("interval", "day", "metrics", "users", "group_by", "country", "timezone", "Europe/Berlin")},
		{"/v1/metrics/top", with("by", "country", "metrics", "users")},
		{"/v1/metrics/top", with("by", "type", "metrics", "users,sessions")},
		{"/v1/metrics/users", with("filter", `path in ("/a", "/b")`)},
	}
	same := func(when string) {
		t.Helper()
		for _, q := range questions {
			var rolled, raw map[string]any
			w.ok(q.path, q.params, &rolled)
			w.ok(q.path, asRaw(q.params), &raw)
			require.Equal(t, "rollups", rolled["meta"].(map[string]any)["served_by"])
			delete(rolled, "meta")
			delete(raw, "meta")
			require.Equal(t, raw, rolled, "%s, %s, %s", q.path, q.params.Encode(), when)
		}
	}
	for round := range 12 {
		events := make([]event.Event, 1+r.IntN(40))
		for i := range events {
			e := pageView(from.Add(-5 * time.Minute).Add(time.Duration(r.Int64N(int64(to.Sub(from) + 10*time.Minute)))))
			e.Type, e.Path, e.Country = pick("page_view", "click"), pick("/", "/a", "/b", "/c"), pick("", "DE", "FR")
			e.UserID, e.SessionID = fmt.Sprintf("u-%d", r.IntN(300)), fmt.Sprintf("s-%d", r.IntN(300))
			e.Value, e.HasValue, e.Currency = r.Int64N(2e9), true, "EUR"
			if r.IntN(5) == 0 {
				e.Value = 9e17 // ten of them overflow 64 bits
			}
			events[i] = e
		}
		w.store(events...)
		same(fmt.Sprintf("in the log, round %d", round))
		if r.IntN(3) > 0 {
			w.fold()
			same(fmt.Sprintf("folded, round %d", round))
		}
	}

	// A rebuild changes what no fold does: here rows vanish.
	w.fold()
	for _, sql := range []string{
		`DELETE FROM events WHERE type = 'click'`,
		`DELETE FROM rollup_day WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`DELETE FROM rollup_hour WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`DELETE FROM rollup_minute WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`DELETE FROM users_day WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`DELETE FROM users_hour WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`DELETE FROM users_minute WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`INSERT INTO rebuilds (day, corrected) VALUES ('2026-03-02', 1)`,
	} {
		_, err := w.pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	same("rebuilt")
}

// TestWhatIsRememberedOfEventsIsWhatTheTableSays asks an api that remembers events, and one
// that does not, the same questions about sessions, funnels, paths and retention while late
// events come.
func TestWhatIsRememberedOfEventsIsWhatTheTableSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("API_EVENT_MEMORY_MIB", "8")
	forgetful := w.another("API_EVENT_MEMORY_MIB", "0")

	// The hour that lasts is in it, which is remembered by minutes.
	from := time.Now().UTC().Truncate(time.Hour).Add(-29*time.Hour - 2*time.Minute)
	to := from.Add(30*time.Hour + 4*time.Minute)
	questions := []struct {
		path   string
		params url.Values
		table  bool // asks for what is not remembered
	}{
		{"/v1/sessions", ranged(from, to), false},
		{"/v1/sessions", ranged(from.Add(50*time.Minute), to.Add(-3*time.Hour), "filter", `country is "DE"`), false},
		{"/v1/sessions", ranged(from, to, "type", "page_view", "limit", "2"), false},
		{"/v1/funnel", ranged(from, to, "step", `type is "page_view"`, "step", `type is "purchase"`, "window", "1h"), false},
		{"/v1/funnel", ranged(from, to.Add(-90*time.Minute), "step", `path is "/1" or not path exists`, "step", `type in ("click", "page_view")`, "step", ``,
			"window", "30m", "group_by", "path", "limit", "3"), false},
		{"/v1/funnel", ranged(from, to, "step", `type is "click"`, "step", `path contains "2"`, "group_by", "type", "filter", `country in ("DE", "FR") and source is "web"`), false},
		{"/v1/funnel", ranged(from, to, "step", `type is "click"`, "step", `country is "DE"`), false},
		{"/v1/funnel", ranged(from, to, "step", `type is "click" and not country is "FR"`, "step", `country is "DE" or path is "/1"`, "group_by", "country"), false},
		{"/v1/funnel", ranged(from, to, "step", `browser exists`, "step", `source is "web" and os != "Linux"`, "group_by", "device", "filter", `device exists or type is "click"`), false},
		{"/v1/funnel", ranged(from, to, "step", `type is "click"`, "step", `type is "purchase"`, "group_by", "referrer"), true},
		{"/v1/paths", ranged(from, to, "start", `type is "page_view"`), false},
		{"/v1/paths", ranged(from.Add(7*time.Minute), to, "start", `path is "/3"`, "by", "path", "filter", `not type is "click"`), false},
		{"/v1/paths", ranged(from.Add(3*time.Hour), to.Add(-time.Hour), "start", `type is "purchase"`, "by", "path", "direction", "before", "steps", "5"), false},
		{"/v1/paths", ranged(from, to, "start", `country is "FR" and type is "click"`), false},
		{"/v1/paths", ranged(from, to, "start", `user_id exists`), true},
		{"/v1/paths", ranged(from, to, "start", `properties.plan is "solo"`, "by", "path"), true},
		{"/v1/funnel", ranged(from, to, "step", `type is "page_view"`, "step", `properties.plan is "solo"`, "window", "2h"), true},
		{"/v1/funnel", ranged(from, to.Add(-90*time.Minute), "step", `properties.plan exists and type is "click"`, "step", `country is "DE"`, "step", `referrer exists`), true},
		{"/v1/funnel", ranged(from, to, "step", `country is "DE"`, "step", `properties.plan is "solo"`, "group_by", "path", "filter", `properties.plan exists`), true},
		{"/v1/funnel", ranged(from, to, "step", `referrer exists`, "step", `properties.plan is "solo"`, "group_by", "device"), true},
		{"/v1/retention", ranged(from, to, "start", `properties.plan is "solo"`, "return", `session_id is "s3" or type is "click"`), true},
		{"/v1/retention", ranged(from, to, "timezone", "Asia/Kolkata"), false},
		{"/v1/retention", ranged(from, to, "start", `type is "page_view"`, "return", `type is "purchase"`, "filter", `path exists`), false},
		{"/v1/retention", ranged(from, to, "start", `country is "FR" or device is "mobile"`, "return", `type is "click"`), false},
	}
	ask := func(w *world) (answers []map[string]any) {
		for _, q := range questions {
			var answer map[string]any
			w.ok(q.path, q.params, &answer)
			delete(answer["meta"].(map[string]any), "as_of")
			answers = append(answers, answer)
		}
		return answers
	}
	for round := range 4 {
		events := visits(from, to)
		if round < 2 { // those who did several things in the same microsecond come later
			for i := range events {
				events[i].Time = events[i].Time.Add(time.Duration(i) * time.Microsecond)
			}
		}
		w.store(events...)
		require.Equal(t, ask(forgetful), ask(w), "read, round %d", round)
		if round%3 > 0 {
			w.fold()
		}
		late := pageView(from.Add(rand.N(to.Sub(from))))
		late.SessionID, late.Properties = fmt.Sprintf("s%d", rand.N(200)), `{"plan": "solo"}`
		w.store(late)
		require.Equal(t, ask(forgetful), ask(w), "remembered, round %d", round)
	}

	// What is remembered needs no rows, and a rebuild has it forgotten. So has an hour that
	// is over by now, whose minutes are not what is asked for any more.
	hour := time.Now().Truncate(time.Hour)
	before := ask(w)
	_, err := w.pool.Exec(t.Context(), `DELETE FROM events WHERE country IS NULL`)
	require.NoError(t, err)
	after := ask(w)
	for i, q := range questions {
		if !q.table && time.Now().Truncate(time.Hour).Equal(hour) {
			require.Equal(t, before[i], after[i], "%s, %s", q.path, q.params.Encode())
		}
	}
	_, err = w.pool.Exec(t.Context(), `INSERT INTO rebuilds (day, corrected) VALUES ('2026-03-02', 1)`)
	require.NoError(t, err)
	require.NotEqual(t, before, ask(w))
	require.Equal(t, ask(forgetful), ask(w), "rebuilt")
}

// TestWhatFiltersTookIsRemembered: filters that ask for more than is remembered are asked of the
// table once, and then of what changed.
func TestWhatFiltersTookIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("API_EVENT_MEMORY_MIB", "8")
	from := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	to := from.Add(6 * time.Hour)
	solo := `properties.plan is "solo"`
	steps := func(from time.Time, more ...string) url.Values {
		return ranged(from, to, append(more, "step", `type is "page_view" and `+solo, "step", `type is "click" or `+solo, "window", "2h")...)
	}
	funnel := func(of url.Values) (f behaviour.Funnel) {
		w.ok("/v1/funnel", of, &f)
		return f
	}
	events := visits(from, to)
	for i := range events { // nobody does two things at once: visits are of whole seconds, give or take a microsecond
		events[i].Time = events[i].Time.Add(3 * time.Duration(i) * time.Microsecond)
	}
	starters := func(from, except time.Time) int64 { // but for an hour
		users := map[string]bool{}
		for i := range events {
			e := &events[i]
			in := !e.Time.Before(from) && e.Time.Before(to) && !e.Time.Truncate(time.Hour).Equal(except)
			if in && e.Type == "page_view" && strings.Contains(e.Properties, "solo") {
				users[e.Actor()] = true
			}
		}
		return int64(len(users))
	}
	w.store(events...)
	w.fold()
	part := funnel(steps(from.Add(50 * time.Minute)))
	german, before := funnel(steps(from, "filter", `country is "DE"`)), funnel(steps(from))
	require.Equal(t, starters(from.Add(50*time.Minute), time.Time{}), part.Steps[0].Users)
	require.Equal(t, starters(from, time.Time{}), before.Steps[0].Users, "whole hours are asked for, also when a question is about a part of one")
	require.Less(t, german.Steps[0].Users, before.Steps[0].Users, "what one question's filter took is not the other's")

	_, err := w.pool.Exec(t.Context(), `UPDATE events SET properties = '{}'`) // nothing that the pipeline would do
	require.NoError(t, err)
	require.Equal(t, before.Steps, funnel(steps(from)).Steps, "it is not asked for again")

	// Of the hour with something new all is asked for again, and of no other.
	late := pageView(from.Add(3 * time.Hour))
	late.UserID, late.Properties = "somebody new", `{"plan": "solo"}`
	w.store(late)
	require.Equal(t, starters(from, late.Time)+1, funnel(steps(from)).Steps[0].Users)
}
