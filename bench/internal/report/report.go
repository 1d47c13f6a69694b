// Package report is what every command of the benchmark ends with: one value that
// becomes a table, JSON, an HTML page, and one side of a comparison.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// SchemaVersion is raised when the meaning of a key changes or one is removed.
const SchemaVersion = 2

// Report is one run of one command.
type Report struct {
	SchemaVersion int            `json:"schema_version"`
	Command       string         `json:"command"`
	Verdict       Verdict        `json:"verdict"`
	Partial       bool           `json:"partial"`  // it ended before its time; the figures are of what was done
	Problems      []string       `json:"problems"` // why it is partial or INVALID
	StartedAt     time.Time      `json:"started_at"`
	Seconds       float64        `json:"seconds"` // how long the run took
	Machine       Machine        `json:"machine"`
	Servers       string         `json:"servers"` // how Redis and TimescaleDB were obtained
	Versions      Versions       `json:"versions"`
	Configuration map[string]any `json:"configuration"` // every flag
	Counts        *Counts        `json:"-"`             // at the top level; nil where nothing is stored
	Figures       []Figure       `json:"figures"`       // their medians are at the top level too, by name
	Steps         []Step         `json:"steps"`         // such as one rate of a sweep, in their order
	Series        []Series       `json:"series"`
	Notes         []string       `json:"notes"` // what to know when reading the figures
}

// Verdict is whether the counts add up.
type Verdict string

// The verdicts.
const (
	Valid     Verdict = "valid"
	Invalid   Verdict = "INVALID"
	Unchecked Verdict = "unchecked" // it did not come to that
	Computed  Verdict = "computed"  // nothing was run
)

// Counts is what became of the published events.
type Counts struct {
	Published    int64 `json:"published"` // acknowledged by Redis or by ingestion
	Stored       int64 `json:"stored"`
	DeadLettered int64 `json:"dead_lettered"`
	Lost         int64 `json:"lost"` // neither stored nor a dead letter
	Duplicated   int64 `json:"duplicated"`
	Foreign      int64 `json:"foreign"` // stored, but never published
	RollupsEqual bool  `json:"rollups_equal_raw"`
}

// Add adds the counts of another part of the run.
func (c *Counts) Add(o Counts) {
	c.Published += o.Published
	c.Stored += o.Stored
	c.DeadLettered += o.DeadLettered
	c.Lost += o.Lost
	c.Duplicated += o.Duplicated
	c.Foreign += o.Foreign
	c.RollupsEqual = c.RollupsEqual && o.RollupsEqual
}

// OK tells whether every event that was published is there, once, and counted. The
// benchmark publishes only valid ones, so none may become a dead letter.
func (c *Counts) OK() bool {
	return c.Lost == 0 && c.DeadLettered == 0 && c.Duplicated == 0 && c.Foreign == 0 && c.RollupsEqual
}

// Step is one part of a run, with figures of its own.
type Step struct {
	Name    string   `json:"name"`
	Figures []Figure `json:"figures"`
}

// Series is one quantity over the time of the run.
type Series struct {
	Chart   string    `json:"chart"` // series of one chart are drawn together
	Name    string    `json:"name"`
	Unit    Unit      `json:"unit"`
	Seconds []float64 `json:"seconds"` // since the run's start
	Values  []float64 `json:"values"`
}

// New begins a report.
func New(command string, configuration map[string]any) *Report {
	return &Report{
		SchemaVersion: SchemaVersion, Command: command, Verdict: Unchecked, StartedAt: time.Now().UTC(), Machine: thisMachine(),
		Configuration: configuration, Problems: []string{}, Figures: []Figure{}, Steps: []Step{}, Series: []Series{}, Notes: []string{},
	}
}

// Problem notes why the run is not what it should have been.
func (r *Report) Problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// Note notes what a reader should know.
func (r *Report) Note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Count notes checked counts. Those of several parts add up.
func (r *Report) Count(c Counts) {
	if r.Counts == nil {
		r.Counts = &Counts{RollupsEqual: true}
	}
	r.Counts.Add(c)
	if c.OK() && r.Verdict != Invalid {
		r.Verdict = Valid
		return
	}
	r.Invalidate("published %d: stored %d, dead letters %d, lost %d, duplicated %d, never published %d; rollups equal raw rows: %v",
		c.Published, c.Stored, c.DeadLettered, c.Lost, c.Duplicated, c.Foreign, c.RollupsEqual)
}

// Invalidate notes that what was measured is not what it claims to be.
func (r *Report) Invalidate(format string, args ...any) {
	r.Verdict = Invalid
	r.Problem(format, args...)
}

// Add measures a figure of the whole run once more.
func (r *Report) Add(name string, unit Unit, better Better, value float64) {
	r.Figures = add(r.Figures, name, unit, better, value)
}

// Explain notes how a figure of the whole run was computed.
func (r *Report) Explain(name, formula string) {
	for i := range r.Figures {
		if r.Figures[i].Name == name {
			r.Figures[i].Formula = formula
		}
	}
}

// Figure returns a figure of the whole run by name.
func (r *Report) Figure(name string) (Figure, bool) { return find(r.Figures, name) }

// Step returns the step with a name, which is made when there is none.
func (r *Report) Step(name string) *Step {
	for i := range r.Steps {
		if r.Steps[i].Name == name {
			return &r.Steps[i]
		}
	}
	r.Steps = append(r.Steps, Step{Name: name, Figures: []Figure{}})
	return &r.Steps[len(r.Steps)-1]
}

// Add measures a figure of the step once more.
func (s *Step) Add(name string, unit Unit, better Better, value float64) {
	s.Figures = add(s.Figures, name, unit, better, value)
}

// Figure returns a figure of the step by name.
func (s *Step) Figure(name string) (Figure, bool) { return find(s.Figures, name) }

// Value returns the median of a figure, 0 when there is none.
func (s *Step) Value(name string) float64 {
	f, _ := s.Figure(name)
	return f.Median
}

// Err is what the run ends with, once all is written.
func (r *Report) Err() error {
	switch {
	case r.Verdict == Invalid:
		return errors.New("INVALID: see the problems above")
	case r.Partial:
		return errors.New("partial: see the problems above")
	}
	return nil
}

// MarshalJSON puts the counts and the figures' medians at the top level, beside the rest.
func (r *Report) MarshalJSON() ([]byte, error) {
	type plain Report
	out, err := object((*plain)(r))
	if err != nil {
		return nil, err
	}
	if r.Counts != nil {
		counts, err := object(r.Counts)
		if err != nil {
			return nil, err
		}
		for key, value := range counts {
			out[key] = value
		}
	}
	for _, f := range r.Figures {
		if out[f.Name] != nil {
			return nil, fmt.Errorf("the figure %s has the name of another key", f.Name)
		}
		if out[f.Name], err = json.Marshal(f.Median); err != nil {
			return nil, fmt.Errorf("figure %s: %w", f.Name, err)
		}
	}
	return json.Marshal(out)
}

func object(v any) (out map[string]json.RawMessage, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return out, json.Unmarshal(text, &out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Report) UnmarshalJSON(text []byte) error {
	type plain Report
	if err := json.Unmarshal(text, (*plain)(r)); err != nil {
		return err
	}
	if r.SchemaVersion != SchemaVersion {
		return fmt.Errorf("it has schema version %d, this program reads %d: measure again with this one", r.SchemaVersion, SchemaVersion)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return err
	}
	if keys["rollups_equal_raw"] != nil {
		r.Counts = &Counts{}
		return json.Unmarshal(text, r.Counts)
	}
	return nil
}

// Read reads a report from a file.
func Read(file string) (*Report, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s is no report of this benchmark: %w", file, err)
	}
	return r, nil
}

// WriteJSON writes the report to a file.
func (r *Report) WriteJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func find(figures []Figure, name string) (Figure, bool) {
	i := slices.IndexFunc(figures, func(f Figure) bool { return f.Name == name })
	if i < 0 {
		return Figure{}, false
	}
	return figures[i], true
}
