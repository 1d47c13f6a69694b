package api_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type funnelStep struct {
	Step       string
	Users      int64
	OfFirst    float64  `json:"of_first"`
	OfPrevious float64  `json:"of_previous"`
	Median     *float64 `json:"median_seconds"`
}

// walkFunnel tries every first step of everybody and returns how far the best attempts
// got, the times that each step took, and the countries of their first events.
func walkFunnel(events []rawEvent, from, to time.Time, window time.Duration, steps int) (users []int64, took [][]float64, countries map[string]int64) {
	users, took, countries = make([]int64, steps), make([][]float64, steps), map[string]int64{}
	mine := map[string][]rawEvent{}
	for _, e := range events {
		mine[e.who] = append(mine[e.who], e)
	}
	for _, events := range mine {
		var best []time.Time
		var end int
		var country string
		for i, first := range events {
			if !first.takes[0] || first.time.Before(from) || !first.time.Before(to) {
				continue
			}
			times, last := []time.Time{first.time}, i
			for j := i + 1; j < len(events) && len(times) < steps; j++ {
				if events[j].takes[len(times)] && events[j].time.Sub(first.time) <= window {
					times, last = append(times, events[j].time), j
				}
			}
			if len(times) > len(best) || len(times) == len(best) && last <= end {
				best, end, country = times, last, first.country
			}
		}
		for i := range best {
			users[i]++
			if i > 0 {
				took[i] = append(took[i], best[i].Sub(best[i-1]).Seconds())
			}
		}
		if len(best) > 0 {
			countries[country]++
		}
	}
	return users, took, countries
}

// Each step is paired with the SQL that an independent reader would write for it.
func TestFunnelIsWhatTryingEveryAttemptFinds(t *testing.T) {
	t.Parallel()
	w, from, to := visited(t)
	view, purchase := [2]string{`type is "page_view"`, `type = 'page_view'`}, [2]string{`type is "purchase"`, `type = 'purchase'`}
	for _, c := range []struct {
		filter, where string
		steps         [][2]string
	}{
		{``, `true`, [][2]string{view, {`type is "add_to_cart"`, `type = 'add_to_cart'`}, purchase}},
		{``, `true`, [][2]string{view, view, view}},
		{``, `true`, [][2]string{{`path in ("/1", "/2")`, `path IN ('/1', '/2')`}, {`not path exists`, `path IS NULL`}, {`properties.plan is "team"`, `properties ->> 'plan' = 'team'`}}},
		// An event may be of several steps, and is taken for one.
		{`properties.plan exists`, `properties ->> 'plan' IS NOT NULL`, [][2]string{{`path exists`, `path IS NOT NULL`}, view, {``, `true`},
			{`type in ("page_view", "purchase")`, `type IN ('page_view', 'purchase')`}}},
		{`country in ("DE", "FR") and not type is "click"`, `country IN ('DE', 'FR') AND type <> 'click'`, [][2]string{{`country is "DE"`, `country = 'DE'`},
			{`country is "DE" and not properties.plan is "team"`, `country = 'DE' AND properties ->> 'plan' IS DISTINCT FROM 'team'`},
			{`country is "FR" or type is "purchase"`, `country = 'FR' OR type = 'purchase'`}}},
	} {
		params := ranged(from, to, "filter", c.filter, "limit", "1")
		conditions := make([]string, len(c.steps))
		for i, s := range c.steps {
			params.Add("step", s[0])
			conditions[i] = s[1]
		}
		events := w.raw(c.where, conditions...)
		for window, d := range map[string]time.Duration{"1m": time.Minute, "10m": 10 * time.Minute, "1d": 24 * time.Hour} {
			type answer struct {
				Meta struct {
					Window  string
					GroupBy string `json:"group_by"`
				}
				Steps  []funnelStep
				Groups []struct {
					Group *string
					Other bool
					Steps []funnelStep
				}
			}
			var plain, got answer
			params.Set("window", window)
			params.Del("group_by")
			w.ok("/v1/funnel", params, &plain)
			params.Set("group_by", "country")
			w.ok("/v1/funnel", params, &got)
			require.Equal(t, plain.Steps, got.Steps, "groups, which need the table, change nothing")
			require.Equal(t, window, got.Meta.Window)
			users, took, countries := walkFunnel(events, from, to, d, len(c.steps))
			require.Greater(t, users[0], int64(10))
			for i, s := range got.Steps {
				require.Equal(t, c.steps[i][0], s.Step)
				require.Equal(t, users[i], s.Users, "%v in %s", c.steps, window)
				require.InDelta(t, float64(users[i])/float64(users[0]), s.OfFirst, 1e-9)
				require.InDelta(t, float64(users[i])/float64(max(users[max(i-1, 0)], 1)), s.OfPrevious, 1e-9)
				if i > 0 && users[i] > 0 {
					slices.Sort(took[i])
					n := len(took[i])
					require.InDelta(t, (took[i][(n-1)/2]+took[i][n/2])/2, *s.Median, 1e-6)
				} else {
					require.Nil(t, s.Median)
				}
				// Groups are all users.
				require.Len(t, got.Groups, 2)
				require.Equal(t, s.Users, got.Groups[0].Steps[i].Users+got.Groups[1].Steps[i].Users)
			}
			require.True(t, got.Groups[1].Other)
			require.Nil(t, got.Groups[1].Group)
			require.Equal(t, countries[*got.Groups[0].Group], got.Groups[0].Steps[0].Users)
		}
	}
}
