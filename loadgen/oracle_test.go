package loadgen_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
	"weir/services/shared/event"
)

// TestOracleEqualsAnIndependentCount counts the payloads as a pipeline would,
// knowing nothing of how they were made, and compares every answer.
func TestOracleEqualsAnIndependentCount(t *testing.T) {
	t.Parallel()
	for _, name := range loadgen.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := builtin(t, name)
			p.Audience.People = 3000 // so that people come back
			p.Faults.Late, p.Faults.Retried, p.Faults.Malformed = 0.2, 0.05, 0.02
			if name == "back-fill" {
				p.Shape.Rate = 200
			}
			g := generator(t, p)
			oracle := g.Oracle()
			all := take(g, 20_000)
			stored := store(all)

			var counts loadgen.Counts
			for _, s := range all {
				*map[loadgen.Kind]*int64{loadgen.Fresh: &counts.Fresh, loadgen.Late: &counts.Late, loadgen.Duplicate: &counts.Duplicate, loadgen.Malformed: &counts.Malformed}[s.Kind]++
			}
			require.Equal(t, counts, oracle.Counts())
			require.EqualValues(t, len(stored), counts.Stored())

			want, got := tally(stored), map[loadgen.Key]loadgen.Tally{}
			for key, t := range oracle.Tallies() {
				got[key] = t
			}
			require.Equal(t, want, got)
			require.EqualValues(t, len(stored), oracle.Total().Count)
			require.Equal(t, counts.Late, oracle.Total().Late)

			requireFunnel(t, stored, oracle.Funnel())
			requireSessions(t, stored, oracle)
			requirePeople(t, stored, oracle)
		})
	}
}

// store keeps the valid events, once each.
func store(all []sample) (stored []sample) {
	type identity struct {
		id   event.UUID
		time time.Time
	}
	seen := map[identity]bool{}
	for _, s := range all {
		at := identity{s.Event.ID, s.Time}
		if len(s.invalid) > 0 || seen[at] {
			continue
		}
		seen[at] = true
		stored = append(stored, s)
	}
	return stored
}

func tally(stored []sample) map[loadgen.Key]loadgen.Tally {
	out := map[loadgen.Key]loadgen.Tally{}
	for _, s := range stored {
		for dimension, value := range map[string]string{
			"": "", "source": s.Source, "path": s.Path, "referrer": s.Referrer, "country": s.Country,
			"device": s.Device, "browser": s.Browser, "os": s.OS,
		} {
			if dimension != "" && value == "" {
				continue
			}
			key := loadgen.Key{Hour: s.Time.Truncate(time.Hour), Type: s.Type, Dimension: dimension, Value: value}
			t := out[key]
			t.Count++
			t.Sum += s.Value
			if s.Kind == loadgen.Late {
				t.Late++
			}
			out[key] = t
		}
	}
	return out
}

func requireFunnel(t *testing.T, stored []sample, got []int) {
	t.Helper()
	byActor := map[string][]sample{}
	for _, s := range stored {
		byActor[s.Item.Actor] = append(byActor[s.Item.Actor], s)
	}
	want := make([]int, len(loadgen.FunnelSteps))
	for _, events := range byActor {
		slices.SortStableFunc(events, func(a, b sample) int { return a.Time.Compare(b.Time) })
		step, last := 0, time.Time{}
		for _, e := range events {
			if step < len(want) && e.Type == loadgen.FunnelSteps[step] && e.Time.After(last) {
				want[step]++
				step, last = step+1, e.Time
			}
		}
	}
	require.Equal(t, want, got)
	require.Positive(t, want[3])
}

func requireSessions(t *testing.T, stored []sample, oracle *loadgen.Oracle) {
	t.Helper()
	sessions := map[string][]sample{}
	for _, s := range stored {
		sessions[s.SessionID] = append(sessions[s.SessionID], s)
	}
	want := loadgen.SessionCounts{Sessions: int64(len(sessions)), Events: int64(len(stored))}
	entries, exits, ways := map[string]int64{}, map[string]int64{}, map[loadgen.Way]int64{}
	for _, events := range sessions {
		slices.SortStableFunc(events, func(a, b sample) int { return a.Time.Compare(b.Time) })
		var views []string
		var types []string
		for _, e := range events {
			types = append(types, e.Type)
			if e.Type == "page_view" {
				views = append(views, e.Path)
			}
		}
		if n := len(views); n > 0 {
			entries[views[0]]++
			exits[views[n-1]]++
		}
		if len(views) == 1 || len(events) == 1 {
			want.Bounces++
		}
		if i := slices.Index(types, "add_to_cart"); i >= 0 {
			var w loadgen.Way
			copy(w[:], types[i:])
			ways[w]++
		}
	}
	require.Equal(t, want, oracle.Sessions())
	gotEntries, gotExits := oracle.Pages()
	require.Equal(t, entries, gotEntries)
	require.Equal(t, exits, gotExits)
	require.Equal(t, ways, oracle.Ways())
	require.Greater(t, len(ways), 3)
}

func requirePeople(t *testing.T, stored []sample, oracle *loadgen.Oracle) {
	t.Helper()
	days := map[time.Time]map[string]bool{}
	first := stored[0].Time
	everybody := map[string]bool{}
	for _, s := range stored {
		day := s.Time.Truncate(24 * time.Hour)
		if days[day] == nil {
			days[day] = map[string]bool{}
		}
		days[day][s.Item.Actor] = true
		everybody[s.Item.Actor] = true
		if s.Time.Before(first) {
			first = s.Time
		}
	}
	require.Equal(t, len(everybody), oracle.UniqueActors(time.Time{}, start.AddDate(1, 0, 0)))

	cohorts := oracle.Retention()
	seen := map[string]bool{}
	for _, cohort := range cohorts {
		fresh := map[string]bool{}
		for actor := range days[cohort.Day] {
			if !seen[actor] {
				seen[actor], fresh[actor] = true, true
			}
		}
		for i, got := range cohort.Active {
			want := 0
			for actor := range days[cohort.Day.AddDate(0, 0, i)] {
				if fresh[actor] {
					want++
				}
			}
			require.Equal(t, want, got, "%v after %d days", cohort.Day, i)
		}
		require.Equal(t, len(days[cohort.Day]), oracle.UniqueActors(cohort.Day, cohort.Day.AddDate(0, 0, 1)))
	}
	require.Equal(t, first.Truncate(24*time.Hour), cohorts[0].Day)
	require.Len(t, seen, len(everybody), "every actor is in a cohort")
}
