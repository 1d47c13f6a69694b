package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
	"weir/openapi/client"
	"weir/openapi/client/api"
	"weir/openapi/client/ingestion"
)

// control calls an operation of ingestion's generator: "" reads its status or, with a body,
// changes its settings.
func control(t *testing.T, at, operation string, body any) ingestion.Status {
	t.Helper()
	g, err := ingestion.NewClientWithResponses(at)
	require.NoError(t, err)
	var s ingestion.Status
	switch {
	case operation == "start":
		s, err = client.Answer(g.StartGeneratorWithResponse(t.Context()))
	case operation == "stop":
		s, err = client.Answer(g.StopGeneratorWithResponse(t.Context()))
	case body != nil:
		text, errEncode := json.Marshal(body)
		require.NoError(t, errEncode)
		s, err = client.Answer(g.ChangeGeneratorWithBodyWithResponse(t.Context(), "application/json", bytes.NewReader(text)))
	default:
		s, err = client.Answer(g.GetGeneratorWithResponse(t.Context()))
	}
	require.NoError(t, err)
	return s
}

// TestTheApiServesWhatTheOracleKnows sends traffic in which much goes wrong on the way,
// and compares what the api says with what the generator knows.
func TestTheApiServesWhatTheOracleKnows(t *testing.T) {
	t.Parallel()
	const count, seed = 20_000, 11
	w := start(t)
	faults := loadgen.Faults{Late: 0.15, LateBy: loadgen.Duration(40 * time.Minute), Retried: 0.05, Doubled: 0.03, Malformed: 0.02}
	control(t, w.ingestion, "", map[string]any{
		"profile": "mobile-app", "seed": seed, "rate": 20_000, "volume": loadgen.Volume{Count: count}, "faults": faults,
	})
	control(t, w.ingestion, "start", nil)
	var s ingestion.Status
	require.Eventually(t, func() bool {
		s = control(t, w.ingestion, "", nil)
		return s.State == "finished"
	}, patience, 20*time.Millisecond)
	require.EqualValues(t, count, s.Statistics.Published)

	// The same run again, without a pipeline.
	profile, err := loadgen.Builtin("mobile-app")
	require.NoError(t, err)
	profile.Shape, profile.Volume, profile.Faults = loadgen.Constant(20_000), loadgen.Volume{Count: count}, faults
	g, err := loadgen.New(profile, uint64(*s.RunSeed), *s.StartedAt)
	require.NoError(t, err)
	oracle := g.Oracle()
	sent := map[string]string{} // what is to be stored, by id
	for item, more := g.Next(nil); more; item, more = g.Next(nil) {
		if item.Kind == loadgen.Fresh || item.Kind == loadgen.Late {
			sent[item.ID.String()] = string(item.Payload)
		}
	}
	want := oracle.Counts()
	for _, n := range []int64{want.Late, want.Duplicate, want.Malformed} {
		require.Greater(t, n, int64(count/100))
	}

	reach(t, w.pool, want.Stored(), `SELECT count(*) FROM events`)
	settle(t, w)
	require.Equal(t, want.Stored(), number(t, w.pool, `SELECT count(*) FROM events`))
	require.Equal(t, want.Malformed, number(t, w.pool, `SELECT count(*) FROM dead_letters`))
	require.EqualValues(t, oracle.UniqueActors(time.Time{}, time.Now().Add(time.Hour)),
		number(t, w.pool, `SELECT count(DISTINCT coalesce(user_id, anonymous_id)) FROM events`))
	require.Equal(t, oracle.Sessions().Sessions, number(t, w.pool, `SELECT count(DISTINCT session_id) FROM events`))

	// By hour, type and dimension, through the api.
	tallies := map[loadgen.Key]loadgen.Tally{}
	types := map[string]loadgen.Tally{}
	for key, tally := range oracle.Tallies() {
		tallies[key] = tally
		if key.Dimension == "" {
			sum := types[key.Type]
			types[key.Type] = loadgen.Tally{Count: sum.Count + tally.Count, Sum: sum.Sum + tally.Sum}
		}
	}
	from, to := time.Now().AddDate(0, 0, -9).Truncate(time.Second).UTC(), time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	span := between(from, to)
	w.servesSummary(from, to, types)
	w.servesCompared(s.StartedAt.UTC().Truncate(time.Hour), oracle)
	w.servesEvents(from, to, sent, types)
	w.servesPeople(from, to, int64(oracle.UniqueActors(time.Time{}, time.Now().Add(time.Hour))), oracle.Sessions().Sessions)
	w.servesTopPaths(from, to, tallies)
	w.servesBreakdown(span, tallies)
	w.servesSessions(span, oracle)
	w.servesFunnel(span, oracle.Funnel())
	w.servesRetention(oracle.Retention())
	w.servesWays(span, oracle.Ways())
	w.servesStatus(*s.StartedAt, want)
	seen := map[loadgen.Key]loadgen.Tally{}
	for typ := range types {
		for _, dimension := range []string{"", "country", "device", "browser", "os", "referrer", "source"} {
			w.readSeries(from, to, typ, dimension, seen)
		}
	}
	for key := range tallies { // of 2,000 paths the api names the first 50
		if key.Dimension == "path" {
			delete(tallies, key)
		}
	}
	for key, tally := range tallies {
		tally.Late = 0 // the api does not tell them apart
		require.Equal(t, tally, seen[key], "%+v", key)
	}
	require.Len(t, seen, len(tallies))
	rollupsEqualRaw(t, w.pool)
}

func (w *weir) servesSummary(from, to time.Time, want map[string]loadgen.Tally) {
	w.t.Helper()
	summary, err := client.Answer(w.asker().GetMetricsSummaryWithResponse(w.t.Context(), &api.GetMetricsSummaryParams{From: &from, To: &to}))
	require.NoError(w.t, err)
	got := map[string]loadgen.Tally{}
	for _, s := range summary.ByType {
		got[s.Type] = loadgen.Tally{Count: s.Events, Sum: micros(s.Value)}
	}
	require.Equal(w.t, want, got)
}

// servesCompared asks for the hours from one on, compared with as many before it: those hold
// what came late. What the users are of rows is exact.
func (w *weir) servesCompared(from time.Time, oracle *loadgen.Oracle) {
	w.t.Helper()
	const length = 6 * time.Hour
	var want loadgen.Tally
	for key, tally := range oracle.Tallies() {
		if key.Dimension == "" && !key.Hour.Before(from.Add(-length)) && key.Hour.Before(from) {
			want.Count, want.Sum = want.Count+tally.Count, want.Sum+tally.Sum
		}
	}
	require.Greater(w.t, want.Count, int64(500))
	users := oracle.UniqueActors(from.Add(-length), from)
	span := between(from, from.Add(length))
	for filter, tolerance := range map[string]float64{"": 0.02, "time exists": 0} {
		var got struct {
			Compare struct {
				Events, Users int64
				Value         float64
			}
		}
		w.ask("/v1/metrics/summary", span, &got, "compare", "previous", "filter", filter)
		require.Equal(w.t, want, loadgen.Tally{Count: got.Compare.Events, Sum: micros(got.Compare.Value)}, filter)
		require.InDelta(w.t, users, got.Compare.Users, tolerance*float64(users), filter)
	}
}

// servesEvents compares the events themselves, exported, by page and one by one, with what
// was sent.
func (w *weir) servesEvents(from, to time.Time, sent map[string]string, types map[string]loadgen.Tally) {
	w.t.Helper()
	export := w.get("/v1/export?" + between(from, to).Encode())
	require.Equal(w.t, http.StatusOK, export.status, export.body)
	var exported []string
	got := map[string]loadgen.Tally{}
	for line := range strings.Lines(export.body) {
		var e struct {
			ID, Type string
			Value    float64
		}
		require.NoError(w.t, json.Unmarshal([]byte(line), &e), line)
		require.JSONEq(w.t, sent[e.ID], line)
		sum := got[e.Type]
		got[e.Type] = loadgen.Tally{Count: sum.Count + 1, Sum: sum.Sum + micros(e.Value)}
		exported = append(exported, e.ID)
	}
	require.Equal(w.t, types, got)
	require.Equal(w.t, slices.Sorted(maps.Keys(sent)), slices.Sorted(slices.Values(exported)), "each once")

	limit, paged := int64(1000), []string(nil)
	params := api.ListEventsParams{From: &from, To: &to, Limit: &limit}
	for more := true; more; more = params.Cursor != nil {
		page, err := client.Answer(w.asker().ListEventsWithResponse(w.t.Context(), &params))
		require.NoError(w.t, err)
		for _, e := range page.Items {
			paged = append(paged, e.Id.String())
		}
		params.Cursor = page.NextCursor
	}
	require.Equal(w.t, exported, paged)
	for i := 0; i < len(paged); i += 500 {
		one := w.get("/v1/events/" + paged[i])
		require.JSONEq(w.t, sent[paged[i]], one.body)
	}
}

// servesPeople asks for users and sessions by the sets, and for users by the rows too.
func (w *weir) servesPeople(from, to time.Time, users, sessions int64) {
	w.t.Helper()
	summary, err := client.Answer(w.asker().GetMetricsSummaryWithResponse(w.t.Context(), &api.GetMetricsSummaryParams{From: &from, To: &to}))
	require.NoError(w.t, err)
	require.EqualValues(w.t, "rollups", summary.Meta.ServedBy)
	require.InEpsilon(w.t, users, *summary.Users, 0.02)
	require.InEpsilon(w.t, sessions, *summary.Sessions, 0.02)

	week, filter := time.Now().AddDate(0, 0, -6), "time exists"
	exact, err := client.Answer(w.asker().GetMetricsUsersWithResponse(w.t.Context(), &api.GetMetricsUsersParams{From: &week, To: &to, Filter: &filter}))
	require.NoError(w.t, err)
	require.EqualValues(w.t, "raw", exact.Meta.ServedBy)
	require.Equal(w.t, users, exact.Users)
}

func (w *weir) servesTopPaths(from, to time.Time, tallies map[loadgen.Key]loadgen.Tally) {
	w.t.Helper()
	want := map[string]loadgen.Tally{}
	for key, tally := range tallies {
		if key.Dimension == "path" {
			sum := want[key.Value]
			want[key.Value] = loadgen.Tally{Count: sum.Count + tally.Count, Sum: sum.Sum + tally.Sum}
		}
	}
	limit := int64(1000)
	top, err := client.Answer(w.asker().GetMetricsTopWithResponse(w.t.Context(), &api.GetMetricsTopParams{From: &from, To: &to, By: "path", Limit: &limit}))
	require.NoError(w.t, err)
	require.Len(w.t, top.Items, min(1000, len(want)))
	for i, item := range top.Items {
		require.Equal(w.t, want[item.Name], loadgen.Tally{Count: item.Events, Sum: micros(item.Value)}, item.Name)
		require.True(w.t, i == 0 || top.Items[i-1].Events >= item.Events)
		delete(want, item.Name)
	}
	for name, tally := range want {
		require.LessOrEqual(w.t, tally.Count, top.Items[len(top.Items)-1].Events, name)
	}
}

// readSeries reads what the api says of a type by hour and by the values of a dimension.
func (w *weir) readSeries(from, to time.Time, typ, dimension string, into map[loadgen.Key]loadgen.Tally) {
	w.t.Helper()
	interval := api.GetMetricsTimeseriesParamsInterval("hour")
	params := api.GetMetricsTimeseriesParams{From: &from, To: &to, Interval: &interval, Type: &typ}
	if dimension != "" {
		by, limit := api.GetMetricsTimeseriesParamsGroupBy(dimension), int64(50)
		params.GroupBy, params.Limit = &by, &limit
	}
	answer, err := client.Answer(w.asker().GetMetricsTimeseriesWithResponse(w.t.Context(), &params))
	require.NoError(w.t, err)
	for _, s := range answer.Series {
		key := loadgen.Key{Type: typ, Dimension: dimension}
		if s.Group != nil {
			key.Value = *s.Group
		}
		if s.Other {
			continue // events without one: the total less the groups
		}
		for _, p := range s.Points {
			if key.Hour = p.Time.UTC(); p.Events > 0 {
				into[key] = loadgen.Tally{Count: p.Events, Sum: micros(p.Value)}
			}
		}
	}
}

// asker is a generated client of the api.
func (w *weir) asker() *api.ClientWithResponses {
	c, err := api.NewClientWithResponses(w.api)
	require.NoError(w.t, err)
	return c
}

func micros(value float64) int64 { return int64(math.Round(value * 1e6)) }
