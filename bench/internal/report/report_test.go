package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func sample(command string, values ...float64) *Report {
	r := New(command, map[string]any{"runs": "3"})
	for _, v := range values {
		r.Add("events_per_second", EventsPerSecond, More, v)
	}
	return r
}

func TestJSONComesBackWithFiguresAtTheTop(t *testing.T) {
	t.Parallel()
	r := sample("drain", 3, 1, 2)
	r.Count(Counts{Published: 5, Stored: 5, RollupsEqual: true})
	r.Step("one").Add("x_seconds", Seconds, Less, 0.5)
	file := filepath.Join(t.TempDir(), "r.json")
	require.NoError(t, r.WriteJSON(file))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, key := range []string{`"events_per_second": 2`, `"lost": 0`, `"rollups_equal_raw": true`} {
		require.Contains(t, string(text), key)
	}
	again, err := Read(file)
	require.NoError(t, err)
	require.Equal(t, r, again)
}

func TestCountsThatDoNotAddUpAreInvalid(t *testing.T) {
	t.Parallel()
	for _, wrong := range []Counts{{Lost: 1, RollupsEqual: true}, {Published: 1, DeadLettered: 1, RollupsEqual: true}, {Duplicated: 1, RollupsEqual: true}, {Foreign: 1, RollupsEqual: true}, {}} {
		r := sample("drain", 1)
		r.Count(wrong)
		r.Count(Counts{RollupsEqual: true}) // what is right later does not make it good
		require.Equal(t, Invalid, r.Verdict)
		require.ErrorContains(t, r.Err(), "INVALID")
		var out bytes.Buffer
		require.NoError(t, r.WriteTable(&out))
		require.Contains(t, out.String(), "INVALID")
	}
}

func TestCompareJudgesBeyondNoiseOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		old, new []float64
		verdict  string
	}{
		{"twice as fast, many runs", []float64{10, 11, 10, 11, 10}, []float64{20, 21, 22, 20, 21}, "better"},
		{"half as fast, many runs", []float64{20, 21, 22, 20, 21}, []float64{10, 11, 10, 11, 10}, "worse"},
		{"noise, many runs", []float64{10, 14, 9, 13, 11}, []float64{12, 9, 13, 10, 14}, "same"},
		{"ranges overlap", []float64{10, 20, 15}, []float64{8, 16, 12}, "same"},
		{"ranges apart", []float64{10, 11, 12}, []float64{7, 8, 9}, "perhaps worse"},
		{"ranges apart, few runs of one", []float64{10, 11, 12}, []float64{17, 18, 19, 18}, "perhaps better"},
		{"the fewest that tell", []float64{10, 11, 12, 13}, []float64{6, 7, 8, 9}, "worse"},
		{"one run, below the threshold", []float64{100}, []float64{96}, "same"},
		{"one run, beyond", []float64{100}, []float64{90}, "perhaps worse"},
	} {
		got, err := Compare(sample("drain", c.old...), sample("drain", c.new...), 0.05)
		require.NoError(t, err)
		require.Equal(t, c.verdict, got.Changes[0].Verdict, c.name)
		require.Equal(t, c.verdict == "perhaps worse", strings.Contains(strings.Join(got.Notes, " "), "with 4 runs or more"), c.name)
		require.NotEmpty(t, got.Changes[0].Noise, c.name)
		sure, possibly := got.Worse()
		require.Equal(t, c.verdict == "worse", sure == 1, c.name)
		require.Equal(t, c.verdict == "perhaps worse", possibly == 1, c.name)
	}
	_, err := Compare(sample("drain", 1), sample("sweep", 1), 0.05)
	require.ErrorContains(t, err, "only the same can be compared")
}

func TestCompareTellsWhatIsNotComparable(t *testing.T) {
	t.Parallel()
	before, after := sample("sweep", 1), sample("sweep", 1)
	before.Verdict, after.Verdict = Valid, Valid
	c, err := Compare(before, after, 0.05)
	require.NoError(t, err)
	require.Empty(t, c.Notes)
	require.Empty(t, c.Problems)

	before.Add("gone_seconds", Seconds, Less, 1)
	after.Add("added_seconds", Seconds, Less, 1)
	before.Step("5k").Add("x_seconds", Seconds, Less, 1)
	after.Step("5k").Add("y_seconds", Seconds, Less, 1)
	before.Step("10k").Add("x_seconds", Seconds, Less, 1)
	after.Step("20k").Add("x_seconds", Seconds, Less, 1)
	before.Versions = Versions{Go: "go1.25", Weir: "a", Redis: "8.0", PostgreSQL: "17.5", TimescaleDB: "2.19 timescale"}
	after.Versions = Versions{Go: "go1.25", Weir: "b", Redis: "8.2", PostgreSQL: "17.6", TimescaleDB: "2.19 apache"}
	after.Servers = "elsewhere"
	before.Partial = true
	c, err = Compare(before, after, 0.05)
	require.NoError(t, err)
	require.Empty(t, c.Problems)
	require.Equal(t, []string{
		`Redis differs, "8.0" and "8.2": ratios tell of it too.`,
		`PostgreSQL differs, "17.5" and "17.6": ratios tell of it too.`,
		`TimescaleDB differs, "2.19 timescale" and "2.19 apache": ratios tell of it too.`,
		`How the servers were obtained differs, "" and "elsewhere": ratios tell of it too.`,
		"The old run is valid, partial.",
		"Only the old report has gone_seconds.",
		"Only the new report has added_seconds.",
		"Only the old report has x_seconds of the step 5k.",
		"Only the new report has y_seconds of the step 5k.",
		"Only the old report has the step 10k.",
		"Only the new report has the step 20k.",
	}, c.Notes)
}

func TestThePageEscapesAndDraws(t *testing.T) {
	t.Parallel()
	r := sample("sweep", 1)
	r.Note("<script>alert(1)</script>")
	r.Series = append(r.Series, Series{Chart: "Backlog", Name: "events", Unit: Number, Seconds: []float64{0, 1, 2}, Values: []float64{0, 10, 5}})
	for _, step := range []string{"1k", "2k"} {
		r.Step(step).Add("event_to_queryable_p99_seconds", Seconds, Less, 0.2)
	}
	file := filepath.Join(t.TempDir(), "r.html")
	require.NoError(t, r.WriteHTML(file))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(text), "<script")
	require.Equal(t, 2, strings.Count(string(text), "<polyline"))
}

func TestUnitsAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{EventsPerSecond, 212_000, "212,000 events/s"}, {Seconds, 0.0123, "12.3 ms"}, {Seconds, 90, "90.0 s"}, {Seconds, 0, "0"},
		{Bytes, 3 << 20, "3.00 MiB"}, {Bytes, 366, "366 B"}, {Share, 0.091, "9.10%"}, {Ratio, 0.887, "0.89"}, {Number, 1234567, "1,234,567"},
		{Number, -3, "-3"}, {Cores, 1.5, "1.50 cores"},
	} {
		require.Equal(t, c.want, c.unit.Format(c.v))
	}
}
