package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"text/tabwriter"

	"golang.org/x/perf/benchmath"
)

// Comparison is two reports side by side, figure by figure.
type Comparison struct {
	Threshold float64
	Changes   []Change
	Notes     []string
	Problems  []string // why the new run is not what it should have been
}

// Change is one figure in both reports.
type Change struct {
	Step     string // "" is the whole run
	Old, New Figure
	Ratio    float64 // of the medians, new to old; 0 when old is 0
	Noise    string  // what is known of chance
	Verdict  string  // one of those below, or "" of a figure that is not judged
}

// The verdicts on a figure. One that differs by more than the threshold in too few runs to
// tell it from chance is perhaps better or worse.
const (
	better  = "better"
	worse   = "worse"
	same    = "same" // not beyond noise or threshold
	perhaps = "perhaps "
)

// alpha is the chance, for each figure, of calling a difference real that is not, at most.
const alpha = 0.05

// enough is how many runs each report needs for that. The ranges of fewer are apart by
// chance in one of three cases with two runs each, and in one of ten with three.
const enough = 4

// Compare compares two reports of the same command.
func Compare(before, after *Report, threshold float64) (*Comparison, error) {
	if before.Command != after.Command {
		return nil, fmt.Errorf("one report is of %s, the other of %s: only the same can be compared", before.Command, after.Command)
	}
	c := &Comparison{Threshold: threshold}
	c.circumstances(before, after)
	c.add("", before.Figures, after.Figures)
	for _, o := range before.Steps {
		if n, ok := findStep(after.Steps, o.Name); ok {
			c.add(o.Name, o.Figures, n.Figures)
		} else {
			c.note("Only the old report has the step %s.", o.Name)
		}
	}
	for _, n := range after.Steps {
		if _, ok := findStep(before.Steps, n.Name); !ok {
			c.note("Only the new report has the step %s.", n.Name)
		}
	}
	if len(c.Changes) == 0 {
		return nil, fmt.Errorf("the reports have no figure in common")
	}
	if n := c.count(perhaps + worse); n > 0 {
		c.note("%d figures are worse by more than %s in fewer than %d runs in one of the reports, which may be chance: measure both with %d runs or more (-runs, where the command has it).", n, Share.Format(threshold), enough, enough)
	}
	return c, nil
}

// circumstances tells what else than the code may have made a difference, and whether the
// new run can be relied on.
func (c *Comparison) circumstances(before, after *Report) {
	if before.Machine != after.Machine {
		c.note("The machines differ: ratios tell of them too.")
	}
	o, n := before.Versions, after.Versions
	for _, v := range []struct{ name, old, new string }{
		{"Go", o.Go, n.Go}, {"Redis", o.Redis, n.Redis}, {"PostgreSQL", o.PostgreSQL, n.PostgreSQL},
		{"TimescaleDB", o.TimescaleDB, n.TimescaleDB}, {"How the servers were obtained", before.Servers, after.Servers},
	} {
		if v.old != v.new {
			c.note("%s differs, %q and %q: ratios tell of it too.", v.name, v.old, v.new)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before.Configuration)) {
		was, is := before.Configuration[key], after.Configuration[key]
		if key != "json" && key != "html" && fmt.Sprint(is) != fmt.Sprint(was) {
			c.note("-%s was %v and is %v.", key, was, is)
		}
	}
	if before.Verdict == Invalid || before.Partial || before.unchecked() {
		c.note("The old run is %s.", before.verdict())
	}
	if after.Verdict == Invalid {
		c.problem("The new run is INVALID.")
	}
	if after.Partial {
		c.problem("The new run is partial: it ended before its time.")
	}
	if after.unchecked() {
		c.problem("The new run is unchecked: its ids were never compared.")
	}
}

// unchecked tells whether the ids of a run were never compared, though its command does.
func (r *Report) unchecked() bool {
	switch r.Command {
	case "generate", "publish", "collect": // nothing is stored
		return false
	}
	return r.Verdict == Unchecked
}

func findStep(steps []Step, name string) (Step, bool) {
	i := slices.IndexFunc(steps, func(s Step) bool { return s.Name == name })
	if i < 0 {
		return Step{}, false
	}
	return steps[i], true
}

func (c *Comparison) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

func (c *Comparison) problem(text string) { c.Problems = append(c.Problems, text) }

func (c *Comparison) add(step string, before, after []Figure) {
	only := func(which, figure string) {
		if step != "" {
			figure += " of the step " + step
		}
		c.note("Only the %s report has %s.", which, figure)
	}
	for _, o := range before {
		if n, ok := find(after, o.Name); ok {
			c.Changes = append(c.Changes, c.change(step, o, n))
		} else {
			only("old", o.Name)
		}
	}
	for _, n := range after {
		if _, ok := find(before, n.Name); !ok {
			only("new", n.Name)
		}
	}
}

// change judges one figure. With enough runs each it is the U test that tells whether a
// difference is beyond chance. With fewer nothing is certain: with two or three the ranges
// must not even touch, with one only the threshold counts, and it is perhaps a difference.
func (c *Comparison) change(step string, o, n Figure) Change {
	out := Change{Step: step, Old: o, New: n}
	if o.Median != 0 {
		out.Ratio = n.Median / o.Median
	}
	beyond := true
	fewest := min(len(o.Runs), len(n.Runs))
	switch {
	case fewest >= enough:
		t := benchmath.AssumeNothing.Compare(benchmath.NewSample(o.Runs, &benchmath.DefaultThresholds), benchmath.NewSample(n.Runs, &benchmath.DefaultThresholds))
		out.Noise, beyond = fmt.Sprintf("p=%.3f n=%d+%d", t.P, t.N1, t.N2), t.P < alpha
	case fewest >= 2:
		beyond = o.Highest < n.Lowest || n.Highest < o.Lowest
		out.Noise = "ranges overlap"
		if beyond {
			out.Noise = "ranges apart"
		}
		out.Noise += fmt.Sprintf(" n=%d+%d", len(o.Runs), len(n.Runs))
	default:
		out.Noise = "one run: chance unknown"
	}
	if o.Better == Neither {
		return out
	}
	out.Verdict = same
	if !beyond || math.Abs(n.Median-o.Median) <= c.Threshold*math.Abs(o.Median) {
		return out
	}
	out.Verdict = worse
	if (n.Median > o.Median) == (o.Better == More) {
		out.Verdict = better
	}
	if fewest < enough {
		out.Verdict = perhaps + out.Verdict
	}
	return out
}

// Worse is how many figures are worse, by more than the threshold and beyond noise, and how
// many are perhaps.
func (c *Comparison) Worse() (sure, possibly int) { return c.count(worse), c.count(perhaps + worse) }

func (c *Comparison) count(verdict string) (n int) {
	for _, change := range c.Changes {
		if change.Verdict == verdict {
			n++
		}
	}
	return n
}

// WriteTable writes the comparison for a terminal.
func (c *Comparison) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	step := ""
	fmt.Fprint(w, "\told\tnew\tratio\t\t\n")
	for _, change := range c.Changes {
		if change.Step != step {
			step = change.Step
			fmt.Fprintf(w, "%s\t\t\t\t\t\n", step)
		}
		ratio := ""
		if change.Ratio != 0 {
			ratio = fmt.Sprintf("%.3f", change.Ratio)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", title(change.Old.Name), change.Old.Unit.Format(change.Old.Median), change.New.Unit.Format(change.New.Median), ratio, change.Verdict, change.Noise)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range c.Notes {
		fmt.Fprintln(out, "note:", n)
	}
	for _, p := range c.Problems {
		fmt.Fprintln(out, "problem:", p)
	}
	return nil
}
