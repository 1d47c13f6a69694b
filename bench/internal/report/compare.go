package report

import (
	"fmt"
	"io"
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
}

// Change is one figure in both reports.
type Change struct {
	Step     string // "" is the whole run
	Old, New Figure
	Ratio    float64 // of the medians, new to old; 0 when old is 0
	Noise    string  // what is known of chance
	Verdict  string  // better, worse, same (not beyond noise or threshold), or ""
}

// alpha is the chance of calling a difference real that is not, at most.
const alpha = 0.05

// Compare compares two reports of the same command.
func Compare(before, after *Report, threshold float64) (*Comparison, error) {
	if before.Command != after.Command {
		return nil, fmt.Errorf("one report is of %s, the other of %s: only the same can be compared", before.Command, after.Command)
	}
	c := &Comparison{Threshold: threshold}
	if before.Machine != after.Machine {
		c.Notes = append(c.Notes, "The machines differ: ratios tell of them too.")
	}
	for key, value := range before.Configuration {
		if key != "json" && key != "html" && fmt.Sprint(after.Configuration[key]) != fmt.Sprint(value) {
			c.Notes = append(c.Notes, fmt.Sprintf("-%s was %v and is %v.", key, value, after.Configuration[key]))
		}
	}
	slices.Sort(c.Notes)
	for name, r := range map[string]*Report{"old": before, "new": after} {
		if r.Verdict == Invalid || r.Partial {
			c.Notes = append(c.Notes, fmt.Sprintf("The %s run is %s.", name, r.verdict()))
		}
	}
	c.add("", before.Figures, after.Figures)
	for i := range before.Steps {
		if s := slices.IndexFunc(after.Steps, func(s Step) bool { return s.Name == before.Steps[i].Name }); s >= 0 {
			c.add(before.Steps[i].Name, before.Steps[i].Figures, after.Steps[s].Figures)
		}
	}
	if len(c.Changes) == 0 {
		return nil, fmt.Errorf("the reports have no figure in common")
	}
	return c, nil
}

func (c *Comparison) add(step string, before, after []Figure) {
	for _, o := range before {
		if n, ok := find(after, o.Name); ok {
			c.Changes = append(c.Changes, c.change(step, o, n))
		}
	}
}

// change judges one figure. With four runs or more each it is the U test that tells
// whether a difference is beyond chance; with two or three it can never be sure, so the
// ranges must not even touch; with one nothing is known, and only the threshold counts.
func (c *Comparison) change(step string, o, n Figure) Change {
	out := Change{Step: step, Old: o, New: n}
	if o.Median != 0 {
		out.Ratio = n.Median / o.Median
	}
	beyond := true
	switch fewest := min(len(o.Runs), len(n.Runs)); {
	case fewest >= 4:
		t := benchmath.AssumeNothing.Compare(benchmath.NewSample(o.Runs, &benchmath.DefaultThresholds), benchmath.NewSample(n.Runs, &benchmath.DefaultThresholds))
		out.Noise, beyond = fmt.Sprintf("p=%.3f n=%d+%d", t.P, t.N1, t.N2), t.P < alpha
	case fewest >= 2:
		beyond = o.Highest < n.Lowest || n.Highest < o.Lowest
		out.Noise = "ranges overlap"
		if beyond {
			out.Noise = "ranges apart"
		}
	default:
		out.Noise = "one run: chance unknown"
	}
	if o.Better == Neither {
		return out
	}
	out.Verdict = "same"
	if !beyond || math.Abs(n.Median-o.Median) <= c.Threshold*math.Abs(o.Median) {
		return out
	}
	out.Verdict = "worse"
	if (n.Median > o.Median) == (o.Better == More) {
		out.Verdict = "better"
	}
	return out
}

// Worse is how many figures are worse, by more than the threshold and beyond noise.
func (c *Comparison) Worse() (n int) {
	for _, change := range c.Changes {
		if change.Verdict == "worse" {
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
	return nil
}
