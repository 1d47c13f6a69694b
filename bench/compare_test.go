package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/bench/internal/report"
)

// Who gates changes by the exit code can have it for what is certain only, and a run that
// cannot be relied on is always an error.
func TestCompareExitsWithOneForWhatIsWorse(t *testing.T) {
	t.Parallel()
	written := func(command string, change func(*report.Report), runs ...float64) string {
		r := report.New(command, nil)
		r.Verdict = report.Valid
		for _, v := range runs {
			r.Add("events_per_second", report.EventsPerSecond, report.More, v)
		}
		change(r)
		file := filepath.Join(t.TempDir(), "report.json")
		require.NoError(t, r.WriteJSON(file))
		return file
	}
	nothing := func(*report.Report) {}
	for name, c := range map[string]struct {
		command string
		change  func(*report.Report)
		runs    []float64
		code    int
		says    string
	}{
		"as before":             {"drain", nothing, []float64{10, 11, 12, 13}, 0, "same"},
		"worse":                 {"drain", nothing, []float64{6, 7, 8, 9}, 1, "1 figures are worse by more than 5.00%"},
		"worse in three runs":   {"drain", nothing, []float64{6, 7, 8}, 1, "measure both with 4 runs or more"},
		"worse in one":          {"drain", nothing, []float64{6}, 1, "measure both with 4 runs or more"},
		"INVALID":               {"drain", func(r *report.Report) { r.Verdict = report.Invalid }, []float64{20, 21, 22, 23}, 1, "INVALID"},
		"partial":               {"drain", func(r *report.Report) { r.Partial = true }, []float64{20, 21, 22, 23}, 1, "partial"},
		"unchecked":             {"drain", func(r *report.Report) { r.Verdict = report.Unchecked }, []float64{20, 21, 22, 23}, 1, "ids were never compared"},
		"nothing to be checked": {"publish", func(r *report.Report) { r.Verdict = report.Unchecked }, []float64{20, 21, 22, 23}, 0, "better"},
	} {
		out := &bytes.Buffer{}
		before := written(c.command, nothing, 10, 11, 12, 13)
		require.Equal(t, c.code, run(t.Context(), []string{"compare", before, written(c.command, c.change, c.runs...)}, out, out), "%s: %s", name, out)
		require.Contains(t, out.String(), c.says, name)
		if len(c.runs) < 4 {
			require.Zero(t, run(t.Context(), []string{"compare", "-certain", before, written(c.command, c.change, c.runs...)}, out, out), name)
		}
	}
}
