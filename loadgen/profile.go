package loadgen

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Profile says what traffic to generate. It is written as YAML or JSON; the rules
// of each field stand in profile.schema.json.
type Profile struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Source      string `json:"source"` // the events' source

	Shape    Shape    `json:"shape"`
	Arrivals Arrivals `json:"arrivals"`
	Volume   Volume   `json:"volume"`
	Clock    Clock    `json:"clock"`
	Season   Season   `json:"season"`

	Audience Audience `json:"audience"`
	Site     Site     `json:"site"`
	Sessions Sessions `json:"sessions"`
	Journey  Journey  `json:"journey"`
	Faults   Faults   `json:"faults"`
}

// Volume is when the generator ends: at whichever comes first. Zero is never.
type Volume struct {
	Count    int64    `json:"count,omitempty" doc:"Items to send, duplicates and malformed ones included" example:"1000000"`
	Duration Duration `json:"duration,omitempty" doc:"Time from the start" example:"5m"`
}

func (v Volume) reached(items int64, at time.Duration) bool {
	return v.Count > 0 && items >= v.Count || v.Duration > 0 && at >= time.Duration(v.Duration)
}

// Sessions says how long people take between two events of a session. Above
// about 20,000 open sessions (rate × mean gap / multiplier) the gaps shrink
// together, so that memory stays bounded at any rate.
type Sessions struct {
	Gap    Duration `json:"gap"`    // median, simulated time
	Spread float64  `json:"spread"` // standard deviation of the gap's logarithm
}

//go:embed profile/*.yaml
var builtin embed.FS

// base is the built-in profile from which others take the sections that they
// leave out.
const base = "web-shop"

// Names lists the built-in profiles.
func Names() []string {
	files, _ := fs.Glob(builtin, "profile/*.yaml") // fails on a bad pattern only
	for i, f := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(f, "profile/"), ".yaml")
	}
	return files
}

// Builtin returns a built-in profile by name.
func Builtin(name string) (Profile, error) {
	text, err := builtin.ReadFile("profile/" + name + ".yaml")
	if err != nil {
		return Profile{}, fmt.Errorf("no profile %q: the built-in ones are %s", name, strings.Join(Names(), ", "))
	}
	return ParseProfile(text)
}

// ParseProfile reads a profile from YAML or JSON. Whole sections that it leaves
// out are those of the web-shop profile. An error names every field at fault.
func ParseProfile(text []byte) (Profile, error) {
	sections, err := readSections(text)
	if err != nil {
		return Profile{}, fmt.Errorf("profile: %w", err)
	}
	original, err := builtin.ReadFile("profile/" + base + ".yaml")
	if err != nil {
		return Profile{}, err
	}
	inherited, err := readSections(original)
	if err != nil {
		return Profile{}, err
	}
	delete(inherited, "name")
	delete(inherited, "description")
	maps.Copy(inherited, sections)
	if err := check("profile", inherited); err != nil {
		return Profile{}, err
	}
	var p Profile
	whole, err := json.Marshal(inherited)
	if err != nil {
		return Profile{}, fmt.Errorf("profile: %w", err)
	}
	if err := json.Unmarshal(whole, &p); err != nil {
		return Profile{}, fmt.Errorf("profile: %w", err)
	}
	return p, p.Validate()
}

func readSections(text []byte) (sections map[string]any, err error) {
	err = yaml.Unmarshal(text, &sections) // JSON is YAML
	return sections, err
}

// Validate reports whether the profile keeps the schema's rules and those between
// fields, naming each field that does not.
func (p Profile) Validate() error {
	if err := check("profile", p); err != nil {
		return err
	}
	if p.Clock.Multiplier > 1 && p.Clock.Lookback == 0 {
		return fmt.Errorf("profile: clock.lookback: is required when clock.multiplier is above 1, or events would lie in the future")
	}
	if err := p.Faults.Validate(); err != nil {
		return err
	}
	_, err := newChain(p.Journey)
	return err
}

// byWeight splits a table of weights in a stable order, which determinism needs.
func byWeight(table map[string]float64) (names []string, w weighted) {
	names = slices.Sorted(maps.Keys(table))
	weights := make([]float64, len(names))
	for i, name := range names {
		weights[i] = table[name]
	}
	return names, newWeighted(weights)
}
