package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"weir/loadgen"
)

// This file compares the api's answers for a range with plain SQL over the raw rows.

// servedBy has a filter for each of what answers. What people did is read from raw events in any
// case, either remembered or not.
var servedBy = map[string]string{"rollups": "", "raw": "time exists"}

// counted is what there is of some events.
type counted struct {
	Events          int64
	Value           float64
	Users, Sessions int64
}

type group struct {
	counted
	Name, Type, Group string
	Cells             []counted
	Points            []struct {
		Time time.Time
		counted
	}
}

// metric is an answer of any question below /v1/metrics.
type metric struct {
	counted
	Meta struct {
		ServedBy string `json:"served_by"`
	}
	ByType                       []group `json:"by_type"`
	Total, Other                 counted
	Items, Rows, Columns, Series []group
}

func (b borders) metric(by, name string, from, to time.Time, more ...string) (got metric) {
	b.t.Helper()
	b.ask("/v1/metrics/"+name, between(from, to), &got, append(more, "filter", servedBy[by])...)
	require.Equal(b.t, by, got.Meta.ServedBy, name)
	return got
}

// count is plain SQL: the events that have a label, by that and by bucket.
func (b borders) count(label, bucket string, from, to time.Time) map[[2]string]counted {
	b.t.Helper()
	all := map[[2]string]counted{}
	var key [2]string
	var n counted
	b.each([]any{&key[0], &key[1], &n.Events, &n.Value, &n.Users, &n.Sessions}, func() { all[key] = n }, fmt.Sprintf(`
		SELECT %s, (%s)::text, count(*), coalesce(sum(value), 0)::float8, %s
		FROM events WHERE time >= $1 AND time < $2 AND (%[1]s) IS NOT NULL GROUP BY 1, 2`, label, bucket, b.people), from, to)
	return all
}

func (b borders) each(into []any, row func(), sql string, args ...any) {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), sql, args...)
	require.NoError(b.t, err, sql)
	_, err = pgx.ForEachRow(rows, into, func() error { row(); return nil })
	require.NoError(b.t, err, sql)
}

func (b borders) totalsEqualSQL(from, to time.Time) {
	total, types, paths := b.count("''", "''", from, to)[[2]string{}], b.count("type", "''", from, to), b.count("path", "''", from, to)
	ranked := slices.SortedFunc(maps.Keys(paths), func(x, y [2]string) int {
		return cmp.Or(cmp.Compare(paths[y].Events, paths[x].Events), cmp.Compare(x[0], y[0]))
	})
	cells := b.count("country", "type", from, to)
	for by := range servedBy {
		summary := b.metric(by, "summary", from, to, "metrics", b.metrics)
		require.Equal(b.t, total, summary.counted, "%s %v", by, from)
		got := map[[2]string]counted{}
		for _, g := range summary.ByType {
			got[[2]string{g.Type}] = g.counted
		}
		require.Equal(b.t, types, got, "%s %v", by, from)
		if users := b.metric(by, "users", from, to).Users; b.people != nobody {
			require.Equal(b.t, total.Users, users, "%s %v", by, from)
		}

		top := b.metric(by, "top", from, to, "by", "path", "limit", "20", "metrics", "value")
		require.Equal(b.t, counted{Events: total.Events, Value: total.Value}, top.Total)
		sum := top.Other.Events
		for i, item := range top.Items {
			require.Equal(b.t, ranked[i][0], item.Name)
			require.Equal(b.t, counted{Events: paths[ranked[i]].Events, Value: paths[ranked[i]].Value}, item.counted, item.Name)
			sum += item.Events
		}
		require.Equal(b.t, total.Events, sum, "groups sum to totals")

		table := b.metric(by, "breakdown", from, to, "rows", "country", "columns", "type", "row_limit", "100", "column_limit", "20")
		sum = 0
		for _, row := range table.Rows {
			for i, cell := range row.Cells {
				want := cells[[2]string{row.Name, table.Columns[i].Name}]
				require.Equal(b.t, counted{Events: want.Events, Value: want.Value}, cell, "%s %s", row.Name, table.Columns[i].Name)
				sum += cell.Events
			}
		}
		require.Equal(b.t, total.Events, sum, "cells sum to the total")
	}
}

// eventsEqualSQL pages through a range, and exports it.
func (b borders) eventsEqualSQL(from, to time.Time) {
	var id string
	var want, exported, paged []string
	b.each([]any{&id}, func() { want = append(want, id) }, `SELECT id::text FROM events WHERE time >= $1 AND time < $2 ORDER BY time DESC, id DESC`, from, to)
	type item struct{ ID string }
	span := between(from, to)
	for line := range strings.Lines(b.get("/v1/export?" + span.Encode()).body) {
		var e item
		require.NoError(b.t, json.Unmarshal([]byte(line), &e))
		exported = append(exported, e.ID)
	}
	require.Equal(b.t, want, exported)
	for more := true; more; more = span.Get("cursor") != "" {
		var page struct {
			Items []item
			Next  string `json:"next_cursor"`
		}
		b.ask("/v1/events", span, &page, "limit", "300")
		for _, e := range page.Items {
			paged = append(paged, e.ID)
		}
		span.Set("cursor", page.Next)
	}
	require.Equal(b.t, want, paged)
}

var zones = []string{"UTC", "Europe/Berlin", "Australia/Lord_Howe"}

// lordHoweHour is when the hand of the clock there was last at the full hour, or was put forward
// or back. PostgreSQL's date_trunc knows nothing of hours that last for half of one.
const lordHoweHour = `greatest(date_trunc('hour', time, 'Australia/Lord_Howe'), CASE
	WHEN time >= '2025-10-04T15:30:00Z' THEN timestamptz '2025-10-04T15:30:00Z'
	WHEN time >= '2025-04-05T15:00:00Z' THEN timestamptz '2025-04-05T15:00:00Z' END)`

// seriesEqual asks for series in several zones. Where all is whole hours off, the oracle knows
// them too.
func (b borders) seriesEqual(from, to time.Time, tallies map[loadgen.Key]loadgen.Tally) {
	for _, name := range zones {
		zone, err := time.LoadLocation(name)
		require.NoError(b.t, err)
		for interval, layout := range map[string]string{"hour": "2006-01-02 15 -07", "day": "2006-01-02", "month": "2006-01"} {
			bucket := fmt.Sprintf(`date_trunc('%s', time, '%s')`, interval, name)
			if name == "Australia/Lord_Howe" && interval == "hour" {
				bucket = lordHoweHour
			}
			bucket = "extract(epoch FROM " + bucket + ")::bigint"
			groups, totals := b.count("type", bucket, from, to), b.count("''", bucket, from, to)
			known := map[[2]string]loadgen.Tally{}
			for key, tally := range tallies {
				if key.Dimension == "" && !key.Hour.Before(from) && key.Hour.Before(to) {
					at := [2]string{key.Type, key.Hour.In(zone).Format(layout)}
					known[at] = add(known[at], tally)
				}
			}
			for by := range servedBy {
				ask := func(more ...string) (all map[[2]string]counted, told map[[2]string]loadgen.Tally, sums map[time.Time]int64) {
					all, told, sums = map[[2]string]counted{}, map[[2]string]loadgen.Tally{}, map[time.Time]int64{}
					got := b.metric(by, "timeseries", from, to, append(more, "interval", interval, "timezone", name, "metrics", b.metrics)...)
					for _, s := range got.Series {
						for _, p := range s.Points {
							if sums[p.Time.UTC()] += p.Events; p.Events > 0 {
								all[[2]string{s.Group, fmt.Sprint(p.Time.Unix())}] = p.counted
								told[[2]string{s.Group, p.Time.In(zone).Format(layout)}] = loadgen.Tally{Count: p.Events, Sum: micros(p.Value)}
							}
						}
					}
					return all, told, sums
				}
				all, _, whole := ask()
				require.Equal(b.t, totals, all, "%s %s %s %v", by, interval, name, from)
				all, told, sums := ask("group_by", "type", "limit", "50")
				require.Equal(b.t, groups, all, "%s %s %s %v", by, interval, name, from)
				require.Equal(b.t, whole, sums, "groups sum to totals")
				if name != "Australia/Lord_Howe" && from.Minute() == 0 && to.Minute() == 0 {
					require.Equal(b.t, known, told, "%s %s %s %v", by, interval, name, from)
				}
			}
		}
	}
}

// behaviourEqualsSQL asks what people did one thing after the other. season is SQL for its events,
// and a filter.
func (b borders) behaviourEqualsSQL(from, to time.Time, season string) {
	rows := func(sql string, args ...any) map[[2]int64]int64 {
		all := map[[2]int64]int64{}
		var key [2]int64
		var n int64
		b.each([]any{&key[0], &key[1], &n}, func() { all[key] = n }, sql, append([]any{from, to}, args...)...)
		return all
	}
	condition := strings.ReplaceAll(season, `"`, `'`)
	// No more of a session is looked at than what is an hour away.
	sessions := rows(`
		SELECT sum(events)::bigint, count(*) FILTER (WHERE views = 1 OR views = 0 AND events = 1), count(*) FROM (
			SELECT min(time) AS began, count(*) AS events, count(*) FILTER (WHERE type = 'page_view') AS views FROM events
			WHERE time >= $1::timestamptz - interval '1 hour' AND time < $2::timestamptz + interval '1 hour' GROUP BY session_id) AS session
		WHERE began >= $1 AND began < $2`)
	// Who takes each step as early as they can misses none: the window holds all of the season.
	const first = `SELECT coalesce(user_id, anonymous_id) AS who, min(time) AS at FROM `
	step, steps := first+`events WHERE time >= $1 AND time < $2 AND type = 'page_view' GROUP BY 1`, []string(nil)
	var reached []int64
	for i, typ := range loadgen.FunnelSteps {
		if i > 0 {
			step = fmt.Sprintf(first+`(%s) AS s JOIN events ON coalesce(user_id, anonymous_id) = who AND time > at AND type = '%s' AND %s GROUP BY 1`,
				step, typ, condition)
		}
		steps = append(steps, "step", `type is "`+typ+`"`)
		reached = append(reached, rows(`SELECT 0, 0, count(*) FROM (` + step + `) AS s`)[[2]int64{}])
	}
	for _, filter := range []string{season, season + " and time exists"} {
		var stay struct{ Sessions, Events, Bounces int64 }
		b.ask("/v1/sessions", between(from, to), &stay, "filter", filter)
		require.Equal(b.t, sessions, map[[2]int64]int64{{stay.Events, stay.Bounces}: stay.Sessions})
		var funnel struct{ Steps []struct{ Users int64 } }
		b.ask("/v1/funnel", between(from, to), &funnel, append(steps, "window", "30d", "filter", filter)...)
		for i, n := range reached {
			require.Equal(b.t, n, funnel.Steps[i].Users, "%v %s", from, loadgen.FunnelSteps[i])
		}
		for _, zone := range zones {
			for _, period := range []string{"day", "month"} {
				var got struct {
					Cohorts []struct {
						Period   time.Time
						Users    int64
						Returned []int64
					}
				}
				b.ask("/v1/retention", between(from, to), &got, "period", period, "timezone", zone, "filter", filter)
				have := map[[2]int64]int64{}
				for i, c := range got.Cohorts {
					for k, n := range append([]int64{c.Users}, c.Returned...) {
						if n > 0 {
							have[[2]int64{c.Period.Unix(), got.Cohorts[i+k].Period.Unix()}] = n
						}
					}
				}
				require.Equal(b.t, rows(`
					WITH seen AS (
						SELECT DISTINCT coalesce(user_id, anonymous_id) AS who, extract(epoch FROM date_trunc($3, time, $4))::bigint AS period
						FROM events WHERE time >= date_trunc($3, $1::timestamptz, $4) AND time < $2 AND `+condition+`
					), cohort AS (SELECT who, min(period) AS began FROM seen GROUP BY 1)
					SELECT began, period, count(*) FROM cohort JOIN seen USING (who) GROUP BY 1, 2`, period, zone), have, "%s %s %v", period, zone, from)
			}
		}
	}
}
