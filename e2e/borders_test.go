package e2e

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/loadgen"
	"weir/services/shared/unique"
)

// seasons are when the clocks change and a month ends. Their ranges begin and end there:
// at a change, or at a midnight.
var seasons = []struct {
	name, start string
	items       int // of each side
	ranges      [][2]string
}{
	{"spring", "2025-03-29T20:00:00Z", 2000, [][2]string{
		{"2025-03-30T00:00:00+01:00", "2025-04-01T00:00:00+02:00"}, // Berlin: from a day of 23 hours to the end of the month
		{"2025-03-30T03:00:00+02:00", "2025-04-06T01:30:00+10:30"}, // from the change in Berlin to the one on Lord Howe, half an hour back
		{"2025-04-06T00:00:00+11:00", "2025-04-07T00:00:00+10:30"}, // Lord Howe: a day of 24 hours and a half
	}},
	{"october", "2025-09-30T12:00:00Z", 1400, [][2]string{
		{"2025-10-01T00:00:00+10:30", "2025-10-06T00:00:00+11:00"}, // Lord Howe: from the month's first day to the end of one of 23 hours and a half
	}},
	{"autumn", "2025-10-25T20:00:00Z", 1600, [][2]string{
		{"2025-10-26T00:00:00+02:00", "2025-10-27T00:00:00+01:00"}, // Berlin: a day of 25 hours
		{"2025-10-26T02:00:00+01:00", "2025-11-01T00:00:00Z"},      // from the change in Berlin to the end of the month
	}},
}

// sides of a border. Each has a source that sends something every sixth minute: exactly on it,
// or one microsecond before it. Late events are anywhere.
var sides = map[string]time.Duration{"on": 0, "before": -time.Microsecond}

// TestAtEveryBorderTheApiServesWhatTheOracleAndPlainSQLKnow sends duplicates, late and malformed
// events around borders through the pipeline, and compares the api's answers with what the
// generator knows, and with what SQL says of the rows.
func TestAtEveryBorderTheApiServesWhatTheOracleAndPlainSQLKnow(t *testing.T) {
	t.Parallel()
	w, chance := start(t), harness.Seed(t)
	var want loadgen.Counts
	traffics := make([][]*traffic, len(seasons))
	for i, s := range seasons {
		for _, side := range slices.Sorted(maps.Keys(sides)) {
			profile, err := loadgen.Builtin("web-shop")
			require.NoError(t, err)
			const lookback = 30 * 24 * time.Hour
			profile.Source, profile.Audience.People, profile.Sessions.Gap = s.name+"-"+side, 1000, loadgen.Duration(10*time.Minute)
			profile.Clock, profile.Arrivals = loadgen.Clock{Multiplier: 3600, Lookback: loadgen.Duration(lookback)}, loadgen.Even
			profile.Shape, profile.Faults = loadgen.Constant(10), untidy // 10 in a second, which is an hour
			profile.Faults.LateBy = loadgen.Duration(40 * time.Minute)
			chance++
			tr := trafficOf(t, w.box, profile, chance, moment(t, s.start).Add(lookback+sides[side]))
			tr.sent = map[string]string{}
			traffics[i] = append(traffics[i], tr)
		}
		for range s.items / 200 {
			for _, tr := range traffics[i] {
				tr.publish(t, 200)
			}
		}
		for _, tr := range traffics[i] {
			c := tr.oracle.Counts()
			require.Positive(t, min(c.Late, c.Duplicate, c.Malformed))
			want.Fresh, want.Late, want.Malformed = want.Fresh+c.Fresh, want.Late+c.Late, want.Malformed+c.Malformed
		}
	}
	settle(t, w)
	require.Equal(t, want.Stored(), number(t, w.pool, `SELECT count(*) FROM events`))
	require.Equal(t, want.Malformed, number(t, w.pool, `SELECT count(DISTINCT payload) FROM dead_letters`))
	rollupsEqualRaw(t, w.pool)

	b := borders{w, "value,users,sessions", `count(DISTINCT coalesce(user_id, anonymous_id)), count(DISTINCT session_id)`}
	if b.alike() { // one seed in a thousand
		b.metrics, b.people = "value", nobody
	}
	var ends []time.Time
	for i, s := range seasons {
		tallies := b.equalOracle(moment(t, s.start), traffics[i])
		for _, r := range s.ranges {
			from, to := moment(t, r[0]), moment(t, r[1])
			ends = append(ends, from, to)
			b.totalsEqualSQL(from, to)
			b.eventsEqualSQL(from, to)
			b.seriesEqual(from, to, tallies)
			b.behaviourEqualsSQL(from, to, fmt.Sprintf(`source in (%q, %q)`, s.name+"-on", s.name+"-before"))
		}
	}
	// An item that is late, malformed or a duplicate leaves its own place empty.
	for _, before := range sides {
		require.Greater(t, number(t, w.pool, `SELECT count(DISTINCT time - $2::interval) FROM events WHERE time - $2::interval = ANY ($1)`, ends, before), int64(len(ends)/2))
	}
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return at.UTC()
}

// borders asks for metrics; people is SQL for how many users and sessions there are.
type borders struct {
	*weir
	metrics, people string
}

const nobody = "0, 0"

// alike tells whether there are two people, or two sessions, that rollups take for one.
func (b borders) alike() bool {
	var name string
	people, hashes := 0, map[uint32]bool{}
	b.each([]any{&name}, func() { people++; hashes[unique.Hash(name)] = true },
		`SELECT coalesce(user_id, anonymous_id) FROM events UNION SELECT session_id FROM events`)
	return len(hashes) < people
}

func add(a, b loadgen.Tally) loadgen.Tally {
	return loadgen.Tally{Count: a.Count + b.Count, Sum: a.Sum + b.Sum}
}

// equalOracle asks for a season as a whole, of which nothing is late by more than a week.
func (b borders) equalOracle(start time.Time, both []*traffic) map[loadgen.Key]loadgen.Tally {
	from, to := start.AddDate(0, 0, -8), start.AddDate(0, 0, 9)
	tallies, types, sent := map[loadgen.Key]loadgen.Tally{}, map[string]loadgen.Tally{}, map[string]string{}
	for _, tr := range both {
		maps.Copy(sent, tr.sent)
		for key, tally := range tr.oracle.Tallies() {
			if tallies[key] = add(tallies[key], tally); key.Dimension == "" {
				types[key.Type] = add(types[key.Type], tally)
			}
		}
		source := `source is "` + tr.source.Profile().Source + `"`
		only := between(from, to)
		only.Set("filter", source)
		b.servesSessions(only, tr.oracle)
		b.servesFunnel(only, tr.oracle.Funnel())
		b.servesWays(only, tr.oracle.Ways())
		b.servesRetention(tr.oracle.Retention(), "filter", source)
		for day := start.Truncate(time.Hour); day.Before(to); day = day.AddDate(0, 0, 1) {
			var got struct{ Users int }
			b.ask("/v1/metrics/users", between(day, day.AddDate(0, 0, 1)), &got, "filter", source+` and time exists`)
			require.Equal(b.t, tr.oracle.UniqueActors(day, day.AddDate(0, 0, 1)), got.Users)
		}
	}
	b.servesSummary(from, to, types)
	b.servesEvents(from, to, sent, types)
	b.servesTopPaths(from, to, tallies)
	b.servesBreakdown(between(from, to), tallies)
	return tallies
}
