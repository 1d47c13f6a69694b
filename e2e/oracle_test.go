package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
)

// generatorStatus is the answer of the generator's control API.
type generatorStatus struct {
	State      string
	StartedAt  time.Time `json:"started_at"`
	RunSeed    int64     `json:"run_seed"`
	Statistics struct {
		Offered, Published, Refused, Late int64
		AchievedRate                      float64 `json:"achieved_rate"`
	}
}

// control calls an operation of ingestion's generator.
func control(t *testing.T, ingestion, method, operation string, body any) (s generatorStatus) {
	t.Helper()
	text, contentType := "", ""
	if body != nil {
		encoded, err := json.Marshal(body)
		require.NoError(t, err)
		text, contentType = string(encoded), "application/json"
	}
	r := do(t, method, ingestion+"/v1/generator"+operation, contentType, text)
	require.Equal(t, http.StatusOK, r.status, r.body)
	r.into(t, &s)
	return s
}

// TestTheApiServesWhatTheOracleKnows sends traffic in which much goes wrong on the way,
// and compares what the api says with what the generator knows.
func TestTheApiServesWhatTheOracleKnows(t *testing.T) {
	t.Parallel()
	const count, seed = 20_000, 11
	w := start(t)
	faults := loadgen.Faults{Late: 0.15, LateBy: loadgen.Duration(40 * time.Minute), Retried: 0.05, Doubled: 0.03, Malformed: 0.02}
	control(t, w.ingestion, http.MethodPatch, "", map[string]any{
		"profile": "mobile-app", "seed": seed, "rate": 20_000, "volume": loadgen.Volume{Count: count}, "faults": faults,
	})
	control(t, w.ingestion, http.MethodPost, "/start", nil)
	var s generatorStatus
	require.Eventually(t, func() bool {
		s = control(t, w.ingestion, http.MethodGet, "", nil)
		return s.State == "finished"
	}, patience, 20*time.Millisecond)
	require.EqualValues(t, count, s.Statistics.Published)

	// The same run again, without a pipeline.
	profile, err := loadgen.Builtin("mobile-app")
	require.NoError(t, err)
	profile.Shape, profile.Volume, profile.Faults = loadgen.Constant(20_000), loadgen.Volume{Count: count}, faults
	g, err := loadgen.New(profile, uint64(s.RunSeed), s.StartedAt)
	require.NoError(t, err)
	oracle := g.Oracle()
	for _, more := g.Next(nil); more; _, more = g.Next(nil) {
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
	span := url.Values{"from": {time.Now().AddDate(0, 0, -9).UTC().Format(time.RFC3339)}, "to": {time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}}
	w.servesSummary(span, types)
	w.servesPeople(span, int64(oracle.UniqueActors(time.Time{}, time.Now().Add(time.Hour))), oracle.Sessions().Sessions)
	w.servesTopPaths(span, tallies)
	w.servesBreakdown(span, tallies)
	w.servesSessions(span, oracle)
	w.servesFunnel(span, oracle.Funnel())
	w.servesRetention(oracle.Retention())
	w.servesWays(span, oracle.Ways())
	w.servesStatus(s.StartedAt, want)
	seen := map[loadgen.Key]loadgen.Tally{}
	for typ := range types {
		for _, dimension := range []string{"", "country", "device", "browser", "os", "referrer", "source"} {
			w.readSeries(span, typ, dimension, seen)
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

func (w *weir) servesSummary(span url.Values, want map[string]loadgen.Tally) {
	w.t.Helper()
	var summary struct {
		ByType []struct {
			Type   string
			Events int64
			Value  float64
		} `json:"by_type"`
	}
	r := w.get("/v1/metrics/summary?" + span.Encode())
	require.Equal(w.t, http.StatusOK, r.status, r.body)
	r.into(w.t, &summary)
	got := map[string]loadgen.Tally{}
	for _, s := range summary.ByType {
		got[s.Type] = loadgen.Tally{Count: s.Events, Sum: micros(s.Value)}
	}
	require.Equal(w.t, want, got)
}

// servesPeople asks for users and sessions by the sets, and for users by the rows too.
func (w *weir) servesPeople(span url.Values, users, sessions int64) {
	w.t.Helper()
	var got struct {
		Meta struct {
			ServedBy string `json:"served_by"`
		}
		Users, Sessions int64
	}
	ask := func(path string) {
		r := w.get(path)
		require.Equal(w.t, http.StatusOK, r.status, r.body)
		r.into(w.t, &got)
	}
	ask("/v1/metrics/summary?metrics=users,sessions&" + span.Encode())
	require.Equal(w.t, "rollups", got.Meta.ServedBy)
	require.InEpsilon(w.t, users, got.Users, 0.02)
	require.InEpsilon(w.t, sessions, got.Sessions, 0.02)

	week := url.Values{"from": {time.Now().AddDate(0, 0, -6).UTC().Format(time.RFC3339)}, "to": span["to"], "filter": {"time exists"}}
	ask("/v1/metrics/users?" + week.Encode())
	require.Equal(w.t, "raw", got.Meta.ServedBy)
	require.Equal(w.t, users, got.Users)
}

func (w *weir) servesTopPaths(span url.Values, tallies map[loadgen.Key]loadgen.Tally) {
	w.t.Helper()
	want := map[string]loadgen.Tally{}
	for key, tally := range tallies {
		if key.Dimension == "path" {
			sum := want[key.Value]
			want[key.Value] = loadgen.Tally{Count: sum.Count + tally.Count, Sum: sum.Sum + tally.Sum}
		}
	}
	var top struct {
		Items []struct {
			Name   string
			Events int64
			Value  float64
		}
	}
	r := w.get("/v1/metrics/top?by=path&limit=1000&" + span.Encode())
	require.Equal(w.t, http.StatusOK, r.status, r.body)
	r.into(w.t, &top)
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
func (w *weir) readSeries(span url.Values, typ, dimension string, into map[loadgen.Key]loadgen.Tally) {
	w.t.Helper()
	var answer struct {
		Series []struct {
			Group  *string
			Other  bool
			Points []struct {
				Time   time.Time
				Events int64
				Value  float64
			}
		}
	}
	query := fmt.Sprintf("/v1/metrics/timeseries?interval=hour&type=%s&%s", typ, span.Encode())
	if dimension != "" {
		query += "&limit=50&group_by=" + dimension
	}
	r := w.get(query)
	require.Equal(w.t, http.StatusOK, r.status, r.body)
	r.into(w.t, &answer)
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

func micros(value float64) int64 { return int64(math.Round(value * 1e6)) }
