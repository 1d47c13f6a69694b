package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Figure is one quantity, measured once or several times.
type Figure struct {
	Name    string    `json:"name"` // such as events_per_second
	Unit    Unit      `json:"unit"`
	Better  Better    `json:"better"`
	Median  float64   `json:"median"`
	Lowest  float64   `json:"lowest"`
	Highest float64   `json:"highest"`
	Runs    []float64 `json:"runs"`              // in the order of measuring
	Formula string    `json:"formula,omitempty"` // how it was computed, if it was
}

// Better is which way a figure should go.
type Better string

// The ways.
const (
	More    Better = "more"
	Less    Better = "less"
	Neither Better = "" // it describes, and is not judged
)

// Unit is what a figure counts.
type Unit string

// The units.
const (
	EventsPerSecond   Unit = "events/s"
	RequestsPerSecond Unit = "requests/s"
	PerSecond         Unit = "/s"
	Seconds           Unit = "s"
	Bytes             Unit = "bytes"
	BytesPerSecond    Unit = "bytes/s"
	Cores             Unit = "cores" // CPU time per time
	Microseconds      Unit = "µs"    // of CPU time, an event
	Ratio             Unit = "ratio"
	Share             Unit = "share" // of one
	Number            Unit = "count"
)

func add(figures []Figure, name string, unit Unit, better Better, value float64) []Figure {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		value = 0 // nothing happened, by which it would be divided
	}
	i := slices.IndexFunc(figures, func(f Figure) bool { return f.Name == name })
	if i < 0 {
		figures = append(figures, Figure{Name: name, Unit: unit, Better: better})
		i = len(figures) - 1
	}
	f := &figures[i]
	f.Runs = append(f.Runs, value)
	sorted := slices.Sorted(slices.Values(f.Runs))
	n := len(sorted)
	f.Median, f.Lowest, f.Highest = (sorted[(n-1)/2]+sorted[n/2])/2, sorted[0], sorted[n-1]
	return figures
}

// Spread is the lowest and the highest, when there are several, or how it was computed.
func (f Figure) Spread() string {
	if f.Formula != "" {
		return f.Formula
	}
	if len(f.Runs) < 2 {
		return ""
	}
	return fmt.Sprintf("%s to %s", f.Unit.Format(f.Lowest), f.Unit.Format(f.Highest))
}

// Format writes a value for people.
func (u Unit) Format(v float64) string {
	switch u {
	case Seconds:
		switch a := math.Abs(v); {
		case a == 0:
			return "0"
		case a < 0.001:
			return fmt.Sprintf("%.0f µs", v*1e6)
		case a < 1:
			return fmt.Sprintf("%.*f ms", digits(v*1e3), v*1e3)
		default:
			return fmt.Sprintf("%.*f s", digits(v), v)
		}
	case Bytes, BytesPerSecond:
		per := ""
		if u == BytesPerSecond {
			per = "/s"
		}
		for _, p := range []struct {
			size float64
			name string
		}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
			if math.Abs(v) >= p.size {
				return fmt.Sprintf("%.*f %s%s", digits(v/p.size), v/p.size, p.name, per)
			}
		}
		return fmt.Sprintf("%.0f B%s", v, per)
	case Share:
		return fmt.Sprintf("%.*f%%", digits(100*v), 100*v)
	case Ratio:
		return fmt.Sprintf("%.2f", v)
	case Number:
		return thousands(v)
	default:
		return thousands(v) + " " + string(u)
	}
}

// digits is how many decimal places a value of some size deserves.
func digits(v float64) int {
	switch a := math.Abs(v); {
	case a >= 100 || a == 0:
		return 0
	case a >= 10:
		return 1
	default:
		return 2
	}
}

func thousands(v float64) string {
	if math.Abs(v) < 100 && v != math.Trunc(v) {
		return fmt.Sprintf("%.*f", digits(v), v)
	}
	text := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	if v < 0 {
		return "-" + text
	}
	return text
}
