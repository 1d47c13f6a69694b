package api_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

func TestRawQuestionsAboutDroppedEventsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	at := time.Now().Add(-40 * 24 * time.Hour)
	w.store(pageView(at))
	_, err := w.pool.Exec(t.Context(), `INSERT INTO retention (relation, keep) VALUES ('events', '30 days')`)
	require.NoError(t, err)
	w.start()
	params := url.Values{"from": {at.Add(-time.Hour).UTC().Format(time.RFC3339)}, "to": {at.Add(time.Hour).UTC().Format(time.RFC3339)}}
	var got answeredSummary
	w.ok("/v1/metrics/summary", params, &got)
	require.EqualValues(t, 1, got.Events)
	var p problem
	require.Equal(t, 422, w.get("/v1/metrics/summary", asRaw(params), &p).StatusCode)
	require.Equal(t, "query.from", p.Errors[0].Location)
	require.Contains(t, p.Errors[0].Message, "kept as rollups only")
	params["step"], params["start"] = []string{"type exists", "type exists"}, []string{"type exists"}
	for path, asks := range map[string][]string{"/v1/sessions": nil, "/v1/funnel": {"step"}, "/v1/retention": {"start"}, "/v1/paths": {"start"}} {
		q := url.Values{"from": params["from"], "to": params["to"]}
		for _, name := range asks {
			q[name] = params[name]
		}
		require.Equal(t, 422, w.get(path, q, &p).StatusCode, path)
		require.Contains(t, p.Errors[0].Message, "kept as rollups only", path)
	}
}

// What is left of coarser rollups answers what they can tell exactly, and nothing else.
func TestQuestionsAboutDroppedRollupsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -400)
	for hour := range 24 {
		w.store(pageView(day.Add(time.Duration(hour)*time.Hour + 40*time.Minute)))
	}
	w.fold()
	for relation, keep := range map[string]string{"rollup_minute": "30 days", "users_minute": "30 days", "rollup_hour": "500 days", "users_hour": "500 days"} {
		_, err := w.pool.Exec(t.Context(), `INSERT INTO retention (relation, keep) VALUES ($1, $2::interval)`, relation, keep)
		require.NoError(t, err)
	}
	_, err := w.pool.Exec(t.Context(), `DELETE FROM rollup_minute; DELETE FROM users_minute`)
	require.NoError(t, err)
	w.start()
	for _, c := range []struct {
		name, path string
		params     url.Values
		events     int64 // 0: refused
	}{
		{"whole days", "/v1/metrics/summary", ranged(day, day.AddDate(0, 0, 1)), 24},
		{"whole hours", "/v1/metrics/summary", ranged(day.Add(time.Hour), day.Add(3*time.Hour)), 2},
		{"not whole hours", "/v1/metrics/summary", ranged(day.Add(time.Hour), day.Add(150*time.Minute)), 0},
		{"users of not whole hours", "/v1/metrics/users", ranged(day.Add(90*time.Minute), day.Add(3*time.Hour)), 0},
		{"whole hours off UTC", "/v1/metrics/timeseries", ranged(day, day.AddDate(0, 0, 1), "interval", "day", "timezone", "Europe/Berlin"), 24},
		{"half an hour off", "/v1/metrics/timeseries", ranged(day, day.AddDate(0, 0, 1), "interval", "day", "timezone", "Asia/Kolkata"), 0},
		{"by minute", "/v1/metrics/timeseries", ranged(day, day.Add(time.Hour), "interval", "minute"), 0},
		{"top", "/v1/metrics/top", ranged(day, day.Add(150*time.Minute), "by", "source"), 0},
	} {
		if c.events == 0 {
			var p problem
			require.Equal(t, 422, w.get(c.path, c.params, &p).StatusCode, c.name)
			require.Equal(t, "query.from", p.Errors[0].Location, c.name)
			require.Contains(t, p.Errors[0].Message, "older counts by minute are not kept", c.name)
			continue
		}
		var got struct {
			Events int64
			Series []struct{ Events int64 }
		}
		w.ok(c.path, c.params, &got)
		for _, s := range got.Series {
			got.Events += s.Events
		}
		require.Equal(t, c.events, got.Events, c.name)
	}
	var p problem
	now := time.Now().UTC().Truncate(time.Hour)
	require.Equal(t, 422, w.get("/v1/metrics/summary", ranged(now.Add(-90*time.Minute), now, "compare", "year"), &p).StatusCode)
	require.Equal(t, "query.compare", p.Errors[0].Location)
	var got answeredSummary
	w.ok("/v1/metrics/summary", ranged(now.Add(-2*time.Hour), now, "compare", "year"), &got)
}
