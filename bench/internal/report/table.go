package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the report for a terminal.
func (r *Report) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w)
	if len(r.Figures) > 0 {
		for _, f := range r.Figures {
			fmt.Fprintf(w, "%s\t%s\t%s\n", title(f.Name), f.Unit.Format(f.Median), f.Spread())
		}
		fmt.Fprintln(w)
	}
	// Steps that have the same figures are one table; there are few of them and many
	// figures, so a step is a column.
	for rest := r.Steps; len(rest) > 0; {
		n := 1
		for n < len(rest) && n < 6 && sameFigures(rest[0], rest[n]) {
			n++
		}
		for _, s := range rest[:n] {
			fmt.Fprintf(w, "\t%s", s.Name)
		}
		fmt.Fprintln(w)
		for i, f := range rest[0].Figures {
			fmt.Fprint(w, title(f.Name))
			for _, s := range rest[:n] {
				fmt.Fprintf(w, "\t%s", s.Figures[i].Unit.Format(s.Figures[i].Median))
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w)
		rest = rest[n:]
	}
	if c := r.Counts; c != nil {
		fmt.Fprintf(w, "published\t%s\n= stored + dead letters\t%s + %s\n", thousands(float64(c.Published)), thousands(float64(c.Stored)), thousands(float64(c.DeadLettered)))
		fmt.Fprintf(w, "lost, duplicated, never published\t%d, %d, %d\nrollups equal raw rows\t%v\n", c.Lost, c.Duplicated, c.Foreign, c.RollupsEqual)
	}
	fmt.Fprintf(w, "verdict\t%s\n", r.verdict())
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range r.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(out, "problem: %s\n", p)
	}
	return nil
}

func (r *Report) verdict() string {
	if r.Partial {
		return string(r.Verdict) + ", partial"
	}
	return string(r.Verdict)
}

func sameFigures(a, b Step) bool {
	if len(a.Figures) != len(b.Figures) {
		return false
	}
	for i := range a.Figures {
		if a.Figures[i].Name != b.Figures[i].Name {
			return false
		}
	}
	return true
}

// title is a figure's name for people: the unit goes with the value.
func title(name string) string {
	for _, unit := range []string{"_per_second", "_seconds", "_bytes", "_us"} {
		if strings.HasSuffix(name, unit) && name != "events_per_second" {
			name = strings.TrimSuffix(name, unit)
			break
		}
	}
	return strings.ReplaceAll(name, "_", " ")
}
