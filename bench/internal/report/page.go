package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"os"
	"strings"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"title": title,
	"value": func(f Figure) string { return f.Unit.Format(f.Median) },
}).Parse(pageText))

// WriteHTML writes the report to a file as one page that needs nothing else, not even
// a script.
func (r *Report) WriteHTML(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	err = page.Execute(f, struct {
		*Report
		Verdict string
		Charts  []drawing
		Tables  [][]Step
	}{r, r.verdict(), r.charts(), r.tables()})
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// tables puts steps with the same figures together.
func (r *Report) tables() (out [][]Step) {
	for rest := r.Steps; len(rest) > 0; {
		n := 1
		for n < len(rest) && sameFigures(rest[0], rest[n]) {
			n++
		}
		out, rest = append(out, rest[:n]), rest[n:]
	}
	return out
}

// charts are the series of the run, and, where there are several steps, how the
// latencies and the CPU change from one to the next.
func (r *Report) charts() (out []drawing) {
	for _, c := range []struct {
		name, suffix string
		unit         Unit
	}{
		{"Latency, 99th percentile, at each step", "_p99_seconds", Seconds},
		{"CPU at each step", "_cpu_cores", Cores},
		{"CPU time of an event at each step", "_cpu_us_per_event", Microseconds},
	} {
		if lines := r.bySteps(c.suffix); len(lines) > 0 {
			labels := make([]string, len(r.Steps))
			for i, s := range r.Steps {
				labels[i] = s.Name
			}
			out = append(out, draw(c.name, c.unit, lines, labels))
		}
	}
	var names []string
	groups := map[string][]line{}
	units := map[string]Unit{}
	for _, s := range r.Series {
		if len(s.Seconds) < 2 {
			continue
		}
		if groups[s.Chart] == nil {
			names = append(names, s.Chart)
		}
		groups[s.Chart] = append(groups[s.Chart], line{Name: s.Name, x: s.Seconds, y: s.Values})
		units[s.Chart] = s.Unit
	}
	for _, name := range names {
		out = append(out, draw(name, units[name], groups[name], nil))
	}
	return out
}

func (r *Report) bySteps(suffix string) (lines []line) {
	if len(r.Steps) < 2 {
		return nil
	}
	for _, f := range r.Steps[0].Figures {
		if !strings.HasSuffix(f.Name, suffix) {
			continue
		}
		l := line{Name: title(strings.TrimSuffix(f.Name, suffix))}
		for i, s := range r.Steps {
			if f, ok := s.Figure(f.Name); ok {
				l.x, l.y = append(l.x, float64(i)), append(l.y, f.Median)
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// drawing is one chart, in the coordinates of its SVG.
type drawing struct {
	Name                     string
	Width, Height            float64
	Left, Right, Top, Bottom float64
	Lines                    []line
	Vertical, Horizontal     []mark
}

type line struct {
	Name, Points, Color string
	x, y                []float64
}

type mark struct {
	At   float64
	Text string
}

// colors can be told apart by people who see colours differently (Okabe and Ito).
var colors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// draw places lines on a plane that begins at 0. labels name the whole numbers of x;
// without them x is seconds.
func draw(name string, unit Unit, lines []line, labels []string) drawing {
	d := drawing{Name: name, Width: 720, Height: 260, Left: 84, Right: 708, Top: 12, Bottom: 226}
	lowX, highX, highY := math.Inf(1), math.Inf(-1), 0.
	for _, l := range lines {
		for i := range l.x {
			lowX, highX, highY = min(lowX, l.x[i]), max(highX, l.x[i]), max(highY, l.y[i])
		}
	}
	highY = ceiling(highY)
	atX := func(x float64) float64 {
		if highX == lowX {
			return d.Left
		}
		return d.Left + (x-lowX)/(highX-lowX)*(d.Right-d.Left)
	}
	atY := func(y float64) float64 { return d.Bottom - max(0, y)/highY*(d.Bottom-d.Top) }
	for i, l := range lines {
		var points strings.Builder
		for k := range l.x {
			fmt.Fprintf(&points, "%.1f,%.1f ", atX(l.x[k]), atY(l.y[k]))
		}
		l.Points, l.Color = points.String(), colors[i%len(colors)]
		d.Lines = append(d.Lines, l)
	}
	for i := range 5 {
		y := highY * float64(i) / 4
		d.Vertical = append(d.Vertical, mark{atY(y), unit.Format(y)})
	}
	for i, text := range labels {
		d.Horizontal = append(d.Horizontal, mark{atX(float64(i)), text})
	}
	if labels == nil {
		for i := range 5 {
			x := lowX + (highX-lowX)*float64(i)/4
			d.Horizontal = append(d.Horizontal, mark{atX(x), Seconds.Format(math.Round(x))})
		}
	}
	return d
}

// ceiling is the next of 1, 2, 2.5, 5, 10, ... that is not below v.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 2.5, 5} {
		if f*unit >= v {
			return f * unit
		}
	}
	return 10 * unit
}
