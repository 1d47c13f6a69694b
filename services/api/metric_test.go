package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

// threeDays returns events with every field that is counted, some of them left out,
// many of them on the borders of buckets.
func threeDays(t testing.TB, start time.Time, n int) []event.Event {
	r := chance(t)
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	events := make([]event.Event, n)
	for i := range events {
		at := start.Add(time.Duration(r.Int64N(int64(72 * time.Hour)))).Truncate(time.Microsecond)
		if i%5 == 0 {
			at = at.Truncate([]time.Duration{time.Minute, time.Hour, 24 * time.Hour}[r.IntN(3)])
		}
		e := pageView(at)
		e.Type = pick("page_view", "page_view", "click", "purchase")
		e.Source = pick("web", "web", "app")
		e.Path = pick("", "/", "/", "/", "/pricing", "/docs", "/a", "/b", "/c")
		e.Country = pick("", "DE", "FR")
		e.UserID = fmt.Sprintf("u-%d", r.IntN(200))
		if e.Type == "purchase" {
			e.Value, e.HasValue, e.Currency = r.Int64N(1e9)+1, true, "EUR"
		}
		events[i] = e
	}
	return events
}

type answeredPoint struct {
	Time   time.Time
	Events int64
	Value  json.Number
}

type answeredSeries struct {
	Group  *string
	Other  bool
	Events int64
	Value  json.Number
	Points []answeredPoint
}

type answeredTimeseries struct {
	Meta struct {
		From, To time.Time
		ServedBy string `json:"served_by"`
	}
	Series []answeredSeries
}

func TestTimeseriesEqualsCountingTheRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	events := threeDays(t, start, 3000)
	w.store(events[:2000]...)
	w.fold()
	w.store(events[2000:]...) // not folded: readers add it
	w.start()

	from, to := start.Add(7*time.Hour+13*time.Minute), start.Add(61*time.Hour+44*time.Minute)
	for _, interval := range []string{"minute", "hour", "day"} {
		for _, group := range []string{"", "type", "source", "path", "country"} {
			for _, filter := range []url.Values{{}, {"type": {"purchase"}}, {"source": {"web"}}, {"type": {"click"}, "source": {"app"}}} {
				if interval == "minute" {
					to = from.Add(30 * time.Hour)
				}
				params := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "interval": {interval}}
				if group != "" {
					params.Set("group_by", group)
					params.Set("limit", "3")
				}
				for name, v := range filter {
					params[name] = v
				}
				var got answeredTimeseries
				w.ok("/v1/metrics/timeseries", params, &got)
				require.Equal(t, w.countRows(from, to, interval, group, 3, filter), got.Series, "%v", params)
				wantRaw := filter.Get("source") != "" && (group == "path" || group == "country")
				require.Equal(t, wantRaw, got.Meta.ServedBy == "raw")
			}
		}
	}
}

// countRows is the independent answer: plain SQL over the rows, and Go.
func (w *world) countRows(from, to time.Time, interval, group string, limit int, filter url.Values) []answeredSeries {
	column := cmp.Or(group, "''")
	rows, err := w.pool.Query(context.Background(), `
		SELECT coalesce(`+column+`, ''), date_trunc($1, time, 'UTC'), count(*), coalesce(sum(value * 1000000), 0)::bigint
		FROM events WHERE time >= $2 AND time < $3 AND ($4 = '' OR type = $4) AND ($5 = '' OR source = $5)
		GROUP BY 1, 2`, interval, from, to, filter.Get("type"), filter.Get("source"))
	require.NoError(w.t, err)
	type key struct {
		group  string
		bucket int64
	}
	events, micros, totals := map[key]int64{}, map[key]int64{}, map[string]int64{}
	var label string
	var bucket time.Time
	var n, value int64
	_, err = pgx.ForEachRow(rows, []any{&label, &bucket, &n, &value}, func() error {
		events[key{label, bucket.Unix()}], micros[key{label, bucket.Unix()}] = n, value
		totals[label] += n
		return nil
	})
	require.NoError(w.t, err)

	var labels []string
	for l := range totals {
		if l != "" && group != "" {
			labels = append(labels, l)
		}
	}
	slices.SortFunc(labels, func(a, b string) int { return cmp.Or(cmp.Compare(totals[b], totals[a]), cmp.Compare(a, b)) })
	labels = labels[:min(limit, len(labels))]
	size := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}[interval]
	series := func(name *string, other bool, in func(string) bool) answeredSeries {
		s := answeredSeries{Group: name, Other: other}
		var sum int64
		for at := from.Truncate(size); at.Before(to); at = at.Add(size) {
			var n, v int64
			for k := range totals {
				if in(k) {
					n, v = n+events[key{k, at.Unix()}], v+micros[key{k, at.Unix()}]
				}
			}
			s.Events, sum = s.Events+n, sum+v
			s.Points = append(s.Points, answeredPoint{at, n, json.Number(event.AppendMicros(nil, v))})
		}
		s.Value = json.Number(event.AppendMicros(nil, sum))
		return s
	}
	if group == "" {
		return []answeredSeries{series(nil, false, func(string) bool { return true })}
	}
	var list []answeredSeries
	for _, l := range labels {
		list = append(list, series(&l, false, func(k string) bool { return k == l }))
	}
	return append(list, series(nil, true, func(k string) bool { return !slices.Contains(labels, k) }))
}

type answeredSummary struct {
	Meta struct {
		From, To time.Time
		ServedBy string    `json:"served_by"`
		AsOf     time.Time `json:"as_of"`
	}
	Events int64
	Value  json.Number
	Users  int64
	ByType []struct {
		Type   string
		Events int64
		Value  json.Number
		Users  int64
	} `json:"by_type"`
}

func TestSummaryEqualsCountingTheRowsAndSumsExactly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	events := threeDays(t, start, 1000)
	huge := make([]event.Event, 12) // together more than 64 bits of millionths
	for i := range huge {
		huge[i] = pageView(start.Add(time.Hour))
		huge[i].Type, huge[i].Value, huge[i].HasValue = "huge", event.MaxValue*event.Micro-1, true
	}
	w.store(events[:500]...)
	for _, e := range huge {
		w.store(e)
		w.fold()
	}
	w.store(events[500:]...)
	w.start()

	for _, filter := range []url.Values{{}, {"type": {"purchase"}}, {"source": {"web"}}, {"type": {"nothing"}}} {
		params := url.Values{"from": {"2026-03-01T00:10:30.5Z"}, "to": {"2026-03-03T23:01:00.000001Z"}}
		for name, v := range filter {
			params[name] = v
		}
		var got answeredSummary
		w.ok("/v1/metrics/summary", params, &got)
		require.Equal(t, start.Add(10*time.Minute), got.Meta.From)
		require.Equal(t, start.Add(71*time.Hour+2*time.Minute), got.Meta.To)
		require.Equal(t, "rollups", got.Meta.ServedBy)
		require.WithinDuration(t, time.Now(), got.Meta.AsOf, time.Minute)
		var n, users int64
		var value string
		require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT count(*), coalesce(trim_scale(sum(value)), 0)::text, count(DISTINCT user_id) FROM events
			WHERE time >= $1 AND time < $2 AND ($3 = '' OR type = $3) AND ($4 = '' OR source = $4)`,
			got.Meta.From, got.Meta.To, filter.Get("type"), filter.Get("source")).Scan(&n, &value, &users))
		require.Equal(t, users, got.Users)
		require.Equal(t, n, got.Events)
		require.Equal(t, value, got.Value.String())
		var sum int64
		for i, one := range got.ByType {
			sum += one.Events
			require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT count(DISTINCT user_id) FROM events
				WHERE time >= $1 AND time < $2 AND type = $3 AND ($4 = '' OR source = $4)`,
				got.Meta.From, got.Meta.To, one.Type, filter.Get("source")).Scan(&users))
			require.Equal(t, users, one.Users)
			if i > 0 {
				require.GreaterOrEqual(t, got.ByType[i-1].Events, one.Events)
			}
		}
		require.Equal(t, got.Events, sum)
	}
}

func TestWithoutARangeTheLastDayIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	now := time.Now()
	w.store(pageView(now), pageView(now.Add(-time.Hour)), pageView(now.Add(-25*time.Hour)))
	w.start()
	var got answeredSummary
	w.ok("/v1/metrics/summary", nil, &got)
	require.EqualValues(t, 2, got.Events)
	var lines answeredTimeseries
	w.ok("/v1/metrics/timeseries", nil, &lines)
	require.EqualValues(t, 2, lines.Series[0].Events, fmt.Sprint(lines.Meta))
}
