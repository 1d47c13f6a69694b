package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

type numbers struct {
	Events          int64
	Value           json.Number
	Users, Sessions *int64
}

// borders are where the clocks change in Berlin, Sydney and Lord Howe (by half an
// hour), and where a day, a week and a month begin in zones from Kolkata to New York.
var borders = []time.Time{
	time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 16, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC),
	time.Date(2026, 3, 31, 22, 0, 0, 0, time.UTC), time.Date(2026, 3, 31, 18, 30, 0, 0, time.UTC), time.Date(2026, 4, 1, 4, 0, 0, 0, time.UTC),
	time.Date(2026, 3, 30, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC),
}

// aroundBorders stores events on borders, one microsecond before them, and within
// hours of them; some in the log, some folded, and not in the order of their times. On the
// Community edition half of the days are compressed before the last events come.
func aroundBorders(w *world, borders ...time.Time) {
	r := chance(w.t)
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	events := make([]event.Event, 1200)
	for i := range events {
		at := borders[r.IntN(len(borders))]
		switch r.IntN(3) {
		case 0:
			at = at.Add(-time.Microsecond)
		case 1:
			at = at.Add(time.Duration(r.Int64N(int64(48*time.Hour))) - 24*time.Hour)
		}
		e := pageView(at.Truncate(time.Microsecond))
		e.Type, e.Source = pick("page_view", "page_view", "click", "purchase"), pick("web", "web", "app")
		e.Path, e.Country, e.Device = pick("", "/", "/", "/a", "/b", "/c", "/d"), pick("", "DE", "FR", "IN"), pick("mobile", "desktop", "")
		if e.UserID = fmt.Sprintf("u-%d", r.IntN(150)); r.IntN(4) == 0 {
			e.UserID, e.AnonymousID = "", fmt.Sprintf("a-%d", r.IntN(150))
		}
		if e.SessionID = fmt.Sprintf("s-%d", r.IntN(300)); r.IntN(5) == 0 {
			e.SessionID = ""
		}
		if e.Type == "purchase" {
			e.Value, e.HasValue, e.Currency, e.Properties = r.Int64N(1e9)-1e8, true, "EUR", pick(`{"plan":"team"}`, `{"plan":"solo"}`)
		}
		events[i] = e
	}
	w.store(events[:700]...)
	w.fold()
	w.compress()
	w.store(events[700:]...)
}

// narrowed pairs filters with the SQL that an independent reader would write for them.
var narrowed = []struct {
	filter, sql string
	rolled      bool // rollups tell of its users
}{
	{``, `true`, true},
	{`type is "purchase"`, `type = 'purchase'`, true},
	{`type in ("purchase", "click") and country in ("DE", "FR")`, `type IN ('purchase', 'click') AND country IN ('DE', 'FR')`, true},
	{`source is "app"`, `source = 'app'`, true},
	{`type is not "purchase" and type != "no such"`, `type <> 'purchase'`, true},
	{`(type is "click" or not type contains "c") and (path contains "/" or path is "none")`, `(type = 'click' OR strpos(type, 'c') = 0) AND path LIKE '%/%'`, true},
	{`country exists and country not in ("FR", "US")`, `country <> 'FR' AND country <> 'US'`, true},
	{`source is not "app"`, `source <> 'app'`, true},
	{`country is not "DE"`, `country IS DISTINCT FROM 'DE'`, false}, // of those without a country no group tells
	{`country is "DE" or device is "mobile"`, `coalesce(country, '') = 'DE' OR coalesce(device, '') = 'mobile'`, false},
	{`country is "DE" and device is "mobile"`, `country = 'DE' AND device = 'mobile'`, false},
	{`not path contains "/" or properties.plan is "team"`, `path IS NULL OR (properties ->> 'plan') IS NOT DISTINCT FROM 'team'`, false},
	{`value > 100 and user_id exists`, `value > 100 AND user_id IS NOT NULL`, false},
}

const anything = `(os exists or not os exists)` // makes any filter one for raw events

func asRaw(params url.Values) url.Values {
	raw := maps.Clone(params)
	if f := params.Get("filter"); f == "" {
		raw.Set("filter", anything)
	} else {
		raw.Set("filter", "("+f+") and "+anything)
	}
	return raw
}

// tally counts the rows that have a label (none: all rows) in plain SQL, by a bucket.
func (w *world) tally(bucket, label, where string, from, to time.Time) map[[2]string]numbers {
	w.t.Helper()
	rows, err := w.pool.Query(context.Background(), fmt.Sprintf(`
		SELECT coalesce(%s, ''), coalesce((%s)::text, ''), count(*), coalesce(trim_scale(sum(value)), 0)::text,
		       count(DISTINCT coalesce(user_id, anonymous_id)), count(DISTINCT session_id)
		FROM events WHERE time >= $1 AND time < $2 AND (%s) GROUP BY 1, 2`, label, bucket, where), from, to)
	require.NoError(w.t, err)
	all := map[[2]string]numbers{}
	var key [2]string
	var n, users, sessions int64
	var value string
	_, err = pgx.ForEachRow(rows, []any{&key[0], &key[1], &n, &value, &users, &sessions}, func() error {
		u, s := users, sessions
		all[key] = numbers{n, json.Number(value), &u, &s}
		return nil
	})
	require.NoError(w.t, err)
	return all
}

// ranked lists labels but the empty one, as top does.
func ranked(all map[[2]string]numbers, limit int) (labels []string) {
	for k := range all {
		if k[0] != "" {
			labels = append(labels, k[0])
		}
	}
	slices.SortFunc(labels, func(a, b string) int {
		return cmp.Or(cmp.Compare(all[[2]string{b}].Events, all[[2]string{a}].Events), cmp.Compare(a, b))
	})
	return labels[:min(limit, len(labels))]
}

func zero() numbers { return numbers{0, "0", new(int64), new(int64)} }

// lordHoweHour is when the hand of the clock there was last at the full hour, or was put
// back. PostgreSQL's date_trunc joins the half hour that is repeated with the hour
// before it.
const lordHoweHour = `extract(epoch FROM greatest(
	date_trunc('minute', time) - extract(minute FROM time AT TIME ZONE 'Australia/Lord_Howe') * interval '1 minute',
	CASE WHEN time >= '2026-04-04T15:00:00Z' THEN timestamptz '2026-04-04T15:00:00Z' END))::bigint`

func TestSeriesInAnyZoneEqualPlainSQLFromRollupsAndRaw(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	aroundBorders(w, borders...)
	w.start()
	from, to := time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC), time.Date(2026, 4, 5, 0, 10, 0, 0, time.UTC)
	type answer struct {
		Meta struct {
			ServedBy string `json:"served_by"`
		}
		Series []struct {
			Group *string
			Other bool
			numbers
			Points []struct {
				Time time.Time
				numbers
			}
		}
	}
	r := chance(t)
	served := map[string]int{}
	for _, zone := range []string{"UTC", "Europe/Berlin", "Australia/Sydney", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York"} {
		for _, interval := range []string{"hour", "day", "week", "month"} {
			narrow, group := narrowed[r.IntN(2)*r.IntN(len(narrowed))], []string{"", "type", "country", "path"}[r.IntN(4)]
			params := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "interval": {interval},
				"timezone": {zone}, "metrics": {"events,users,sessions,value"}, "filter": {narrow.filter}}
			label := "''"
			if group != "" {
				params.Set("group_by", group)
				params.Set("limit", "2")
				label = group
			}
			bucket := fmt.Sprintf("extract(epoch FROM date_trunc('%s', time, '%s'))::bigint", interval, zone)
			if zone == "Australia/Lord_Howe" && interval == "hour" {
				bucket = lordHoweHour
			}
			want, whole := w.tally(bucket, label, narrow.sql, from, to), w.tally("''", label, narrow.sql, from, to)
			total := w.tally(bucket, "''", narrow.sql, from, to)
			for _, params := range []url.Values{params, asRaw(params)} {
				var got answer
				w.ok("/v1/metrics/timeseries", params, &got)
				served[got.Meta.ServedBy]++
				labels := []string{""}
				if group != "" {
					labels = ranked(whole, 2)
				}
				sums := map[string]int64{}
				for i, label := range labels {
					s := got.Series[i]
					if group != "" {
						require.Equal(t, label, *s.Group, params)
					}
					require.Equal(t, cmp.Or(whole[[2]string{label}], zero()), s.numbers, "%v %s", params, label)
					seen := 0
					for _, p := range s.Points {
						key := [2]string{label, fmt.Sprint(p.Time.Unix())}
						expected, ok := want[key]
						if !ok {
							expected = zero()
						} else {
							seen++
						}
						require.Equal(t, expected, p.numbers, "%v %s %v", params, label, p.Time)
						sums[key[1]] += p.Events
					}
					for key := range want {
						if key[0] == label {
							seen--
						}
					}
					require.Zero(t, seen, "every bucket that has events is in the series")
				}
				if group != "" {
					other := got.Series[len(labels)]
					require.True(t, other.Other)
					require.Nil(t, other.Users)
					for _, p := range other.Points {
						key := fmt.Sprint(p.Time.Unix())
						require.Equal(t, total[[2]string{"", key}].Events, sums[key]+p.Events, "groups sum to totals")
					}
				}
			}
		}
	}
	require.Positive(t, served["rollups"])
	require.Greater(t, served["raw"], 24)
}

func TestTotalsTopAndBreakdownEqualPlainSQLFromRollupsAndRaw(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	aroundBorders(w, borders...)
	w.start()
	from, to := time.Date(2026, 3, 29, 0, 59, 0, 0, time.UTC), time.Date(2026, 4, 4, 15, 1, 0, 0, time.UTC)
	base := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
	with := func(narrow string, pairs ...string) url.Values {
		p := maps.Clone(base)
		p.Set("filter", narrow)
		for i := 0; i < len(pairs); i += 2 {
			p.Set(pairs[i], pairs[i+1])
		}
		return p
	}
	for _, narrow := range narrowed {
		all := cmp.Or(w.tally("''", "''", narrow.sql, from, to)[[2]string{}], zero())
		for i, change := range []func(url.Values) url.Values{func(p url.Values) url.Values { return p }, asRaw} {
			var summary struct {
				numbers
				ByType []struct{ Type string } `json:"by_type"`
			}
			w.ok("/v1/metrics/summary", change(with(narrow.filter, "metrics", "users,sessions")), &summary)
			require.Equal(t, all, summary.numbers, narrow.filter)
			require.Equal(t, ranked(w.tally("''", "type", narrow.sql, from, to), 9), func() (l []string) {
				for _, b := range summary.ByType {
					l = append(l, b.Type)
				}
				return l
			}(), narrow.filter)

			var people struct {
				Meta struct {
					ServedBy string `json:"served_by"`
				}
				Users int64
				Error float64 `json:"standard_error"`
			}
			w.ok("/v1/metrics/users", change(with(narrow.filter)), &people)
			require.Equal(t, *all.Users, people.Users)
			require.Zero(t, people.Error)
			require.Equal(t, i == 0 && narrow.rolled, people.Meta.ServedBy == "rollups", narrow.filter)

			for _, by := range []string{"path", "type", "source"} {
				var top struct {
					Total numbers
					Items []struct {
						Name  string
						Share float64
						numbers
					}
					Other struct {
						Share float64
						numbers
					}
				}
				w.ok("/v1/metrics/top", change(with(narrow.filter, "by", by, "limit", "2", "metrics", "users,sessions")), &top)
				groups := w.tally("''", by, narrow.sql, from, to)
				labels := ranked(groups, 2)
				require.Len(t, top.Items, len(labels))
				rest, share := all.Events, top.Other.Share
				for i, item := range top.Items {
					require.Equal(t, labels[i], item.Name)
					require.Equal(t, groups[[2]string{item.Name}], item.numbers, "%s %s", narrow.filter, by)
					rest, share = rest-item.Events, share+item.Share
				}
				require.Equal(t, all, top.Total)
				require.Equal(t, rest, top.Other.Events)
				require.InDelta(t, 1, share, 1e-9)
			}

			for _, fields := range [][2]string{{"country", "type"}, {"path", "device"}} {
				var table struct {
					Columns []struct {
						Name string
						numbers
					}
					Rows []struct {
						Name string
						numbers
						Cells []numbers
					}
				}
				w.ok("/v1/metrics/breakdown", change(with(narrow.filter, "rows", fields[0], "columns", fields[1], "row_limit", "2", "column_limit", "2")), &table)
				cells := w.tally(fields[1], fields[0], narrow.sql, from, to)
				down := make([]int64, len(table.Columns))
				for _, row := range table.Rows {
					var across int64
					for j, one := range row.Cells {
						if name := table.Columns[j].Name; row.Name != "" && name != "" {
							require.Equal(t, cells[[2]string{row.Name, name}].Events, one.Events, "%s %v", narrow.filter, fields)
							require.Equal(t, cmp.Or(cells[[2]string{row.Name, name}].Value, "0"), one.Value)
						}
						across += one.Events
						down[j] += one.Events
					}
					require.Equal(t, row.Events, across)
				}
				var sum int64
				for j, column := range table.Columns {
					require.Equal(t, column.Events, down[j])
					sum += down[j]
				}
				require.Equal(t, all.Events, sum, "cells sum to the total")
			}
		}
	}
}

func TestAnswersOfThePastAreKeptAndAskedAboutByTheirETag(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	at := time.Now().Add(-48 * time.Hour)
	w.store(pageView(at))
	w.start()
	past := "from=" + at.Add(-time.Hour).UTC().Format(time.RFC3339) + "&to=" + at.Add(time.Hour).UTC().Format(time.RFC3339)
	ask := func(path, etag string) *http.Response {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.address+path, nil)
		require.NoError(t, err)
		request.Header.Set("If-None-Match", etag)
		response, err := w.http.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response
	}
	for _, path := range []string{
		"metrics/summary?", "metrics/timeseries?", "metrics/top?by=path&", "metrics/breakdown?rows=type&columns=path&", "metrics/users?",
		"sessions?", "retention?", "paths?start=type+is+%22page_view%22&", "events?limit=1&", "funnel?step=type+is+%22page_view%22&step=type+is+%22purchase%22&",
	} {
		path = "/v1/" + path + past
		first := ask(path, `"other"`)
		require.Equal(t, 200, first.StatusCode, path)
		require.Equal(t, "private, max-age=60", first.Header.Get("Cache-Control"))
		again := ask(path, `"x", `+first.Header.Get("ETag"))
		require.Equal(t, 304, again.StatusCode, path)
		require.Equal(t, first.Header.Get("ETag"), again.Header.Get("ETag"))
	}
	before := ask("/v1/metrics/summary?"+past, "").Header.Get("ETag")
	late := pageView(at)
	late.UserID = "late"
	w.store(late)
	require.Equal(t, 200, ask("/v1/metrics/summary?"+past, before).StatusCode, "a late event changes the past")
	for _, open := range []string{"metrics/summary", "events"} {
		require.Equal(t, "private, no-cache", ask("/v1/"+open, "").Header.Get("Cache-Control"))
	}
	require.Equal(t, "private, no-cache", ask("/v1/funnel?window=3d&step=type+is+%22page_view%22&step=type+is+%22purchase%22&"+past, "").Header.Get("Cache-Control"),
		"some of its events are still to come")
}

func TestQuestionsGoToTheReadDatabase(t *testing.T) {
	t.Parallel()
	replica := newWorld(t, harness.NewSandbox(t))
	replica.store(pageView(time.Now()))
	w := newWorld(t, harness.NewSandbox(t)).start("POSTGRES_READ_URL", replica.box.PostgresURL)
	for _, change := range []func(url.Values) url.Values{func(p url.Values) url.Values { return p }, asRaw} {
		var got answeredSummary
		w.ok("/v1/metrics/summary", change(url.Values{}), &got)
		require.EqualValues(t, 1, got.Events)
	}
	var page struct{ Items []struct{} }
	w.ok("/v1/events", nil, &page)
	require.Len(t, page.Items, 1)
	require.False(t, w.status().Servers.Replica, "a primary is no replica")
}
