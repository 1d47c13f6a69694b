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
func walkFunnel(events []rawEvent, from, to time.Time, window time.Duration, steps ...string) (users []int64, took [][]float64, countries map[string]int64) {
	users, took, countries = make([]int64, len(steps)), make([][]float64, len(steps)), map[string]int64{}
	mine := map[string][]rawEvent{}
	for _, e := range events {
		mine[e.who] = append(mine[e.who], e)
	}
	for _, events := range mine {
		var best []time.Time
		var end int
		var country string
		for i, first := range events {
			if first.typ != steps[0] || first.time.Before(from) || !first.time.Before(to) {
				continue
			}
			times, last := []time.Time{first.time}, i
			for j := i + 1; j < len(events) && len(times) < len(steps); j++ {
				if events[j].typ == steps[len(times)] && events[j].time.Sub(first.time) <= window {
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

func TestFunnelIsWhatTryingEveryAttemptFinds(t *testing.T) {
	t.Parallel()
	w, from, to := visited(t)
	events := w.raw()
	steps := []string{"page_view", "add_to_cart", "purchase"}
	for window, d := range map[string]time.Duration{"1m": time.Minute, "10m": 10 * time.Minute, "1d": 24 * time.Hour} {
		params := ranged(from, to, "window", window, "group_by", "country", "limit", "1")
		for _, s := range steps {
			params.Add("step", `type is "`+s+`"`)
		}
		var got struct {
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
		w.ok("/v1/funnel", params, &got)
		require.Equal(t, window, got.Meta.Window)
		users, took, countries := walkFunnel(events, from, to, d, steps...)
		require.Greater(t, users[0], int64(20))
		for i, s := range got.Steps {
			require.Equal(t, `type is "`+steps[i]+`"`, s.Step)
			require.Equal(t, users[i], s.Users, window)
			require.InDelta(t, float64(users[i])/float64(users[0]), s.OfFirst, 1e-9)
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
