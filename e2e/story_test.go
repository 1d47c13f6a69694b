package e2e

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
)

// This file compares what people did one thing after the other with what the oracle
// knows: late events are in their places, and what came twice is there once.

// ask gets an answer of the api with the parameters of a span and some more.
func (w *weir) ask(path string, span url.Values, into any, more ...string) {
	w.t.Helper()
	params := url.Values{}
	maps.Copy(params, span)
	for i := 0; i < len(more); i += 2 {
		params[more[i]] = append(slices.Clone(params[more[i]]), more[i+1])
	}
	r := w.get(path + "?" + params.Encode())
	require.Equal(w.t, http.StatusOK, r.status, r.body)
	r.into(w.t, into)
}

// between is a span: the parameters that say which range.
func between(from, to time.Time) url.Values {
	return url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}}
}

func (w *weir) servesBreakdown(span url.Values, tallies map[loadgen.Key]loadgen.Tally) {
	w.t.Helper()
	want := map[[2]string]int64{}
	for key, tally := range tallies {
		if key.Dimension == "country" {
			want[[2]string{key.Value, key.Type}] += tally.Count
		}
	}
	var table struct {
		Columns []struct{ Name string }
		Rows    []struct {
			Name  string
			Cells []struct{ Events int64 }
		}
	}
	w.ask("/v1/metrics/breakdown", span, &table, "rows", "country", "columns", "type", "row_limit", "100", "column_limit", "20")
	got := map[[2]string]int64{}
	for _, row := range table.Rows {
		for i, cell := range row.Cells {
			if cell.Events > 0 {
				got[[2]string{row.Name, table.Columns[i].Name}] = cell.Events
			}
		}
	}
	require.Equal(w.t, want, got)
}

func (w *weir) servesSessions(span url.Values, oracle *loadgen.Oracle) {
	w.t.Helper()
	type page struct {
		Path     string
		Sessions int64
	}
	var got struct {
		loadgen.SessionCounts
		EntryPages []page `json:"entry_pages"`
		ExitPages  []page `json:"exit_pages"`
		EntryOther int64  `json:"entry_other"`
		ExitOther  int64  `json:"exit_other"`
	}
	w.ask("/v1/sessions", span, &got, "limit", "50")
	require.Equal(w.t, oracle.Sessions(), got.SessionCounts)
	entries, exits := oracle.Pages()
	for _, c := range []struct {
		want  map[string]int64
		got   []page
		other int64
	}{{entries, got.EntryPages, got.EntryOther}, {exits, got.ExitPages, got.ExitOther}} {
		all := c.other
		for i, p := range c.got {
			require.Equal(w.t, c.want[p.Path], p.Sessions, p.Path)
			require.True(w.t, i == 0 || c.got[i-1].Sessions >= p.Sessions)
			all += p.Sessions
		}
		require.Equal(w.t, got.Sessions, all)
		counts := slices.Sorted(maps.Values(c.want))
		require.Equal(w.t, counts[max(0, len(counts)-50)], c.got[len(c.got)-1].Sessions, "nothing more frequent is left out")
	}
}

func (w *weir) servesFunnel(span url.Values, want []int) {
	w.t.Helper()
	more := []string{"window", "30d"}
	for _, typ := range loadgen.FunnelSteps {
		more = append(more, "step", `type is "`+typ+`"`)
	}
	var got struct{ Steps []struct{ Users int } }
	w.ask("/v1/funnel", span, &got, more...)
	require.Len(w.t, got.Steps, len(want))
	for i, s := range got.Steps {
		require.Equal(w.t, want[i], s.Users, loadgen.FunnelSteps[i])
	}
}

func (w *weir) servesRetention(want []loadgen.Cohort, more ...string) {
	w.t.Helper()
	last := want[len(want)-1].Day
	span := between(want[0].Day, last.AddDate(0, 0, 1))
	var got struct {
		Cohorts []struct {
			Period   time.Time
			Users    int
			Returned []int
		}
	}
	w.ask("/v1/retention", span, &got, more...)
	require.Len(w.t, got.Cohorts, len(want))
	for i, c := range got.Cohorts {
		require.Equal(w.t, want[i], loadgen.Cohort{Day: c.Period.UTC(), Active: append([]int{c.Users}, c.Returned...)})
	}
}

func (w *weir) servesWays(span url.Values, want map[loadgen.Way]int64) {
	w.t.Helper()
	var got struct {
		Sessions, Other int64
		Paths           []struct {
			Path     []string
			Sessions int64
		}
	}
	w.ask("/v1/paths", span, &got, "start", `type is "add_to_cart"`, "steps", "3", "limit", "50")
	all := got.Other
	for _, p := range got.Paths {
		var way loadgen.Way
		copy(way[:], p.Path)
		require.Equal(w.t, want[way], p.Sessions, "%v", way)
		all += p.Sessions
	}
	require.Equal(w.t, got.Sessions, all)
	var sessions int64
	for _, n := range want {
		sessions += n
	}
	require.Equal(w.t, sessions, got.Sessions)
}

// servesStatus also waits: a flush is told a moment after its commit.
func (w *weir) servesStatus(began time.Time, want loadgen.Counts) {
	w.t.Helper()
	var got struct {
		Stream struct{ Events int64 }
		Stored struct {
			LastFlush   time.Time        `json:"last_flush"`
			DeadLetters map[string]int64 `json:"dead_letters"`
		}
	}
	require.Eventually(w.t, func() bool {
		w.ask("/v1/status", nil, &got)
		return got.Stored.LastFlush.After(began)
	}, patience, 20*time.Millisecond)
	require.Zero(w.t, got.Stream.Events)
	var dead int64
	for _, n := range got.Stored.DeadLetters {
		dead += n
	}
	require.Equal(w.t, want.Malformed, dead)
}
