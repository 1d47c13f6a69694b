package generator

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"weir/loadgen"
)

// Config says what to generate from the start on.
type Config struct {
	Rate     float64 `env:"GENERATOR_RATE" default:"0" min:"0" max:"1000000" help:"Events per second that ingestion makes up; 0 leaves the generator off until its API starts it."`
	Profile  string  `env:"GENERATOR_PROFILE" default:"web-shop" help:"What the made-up traffic is like: web-shop, launch-day, mobile-app, back-fill, or the path of a profile file."`
	Seed     int64   `env:"GENERATOR_SEED" default:"0" min:"0" max:"9007199254740991" help:"Seed; the same one makes the same traffic. 0 takes the clock."`
	Count    int64   `env:"GENERATOR_COUNT" default:"0" min:"0" help:"Stop after so many events; 0 goes on."`
	Overload string  `env:"GENERATOR_OVERLOAD" default:"hold" oneof:"hold offer" help:"What the generator does when its events are refused: hold keeps them back and sends them later; offer gives them up, counts them, and keeps to the rate."`
}

// Validate implements config.Validator.
func (c Config) Validate() error {
	if c.Profile == "" {
		return nil
	}
	if _, err := ReadProfile(c.Profile); err != nil {
		return fmt.Errorf("GENERATOR_PROFILE %w", err)
	}
	return nil
}

// ReadProfile returns a built-in profile by its name, or reads the file at that path.
func ReadProfile(name string) (loadgen.Profile, error) {
	if slices.Contains(loadgen.Names(), name) {
		return loadgen.Builtin(name)
	}
	text, err := os.ReadFile(name) // #nosec G304 -- whoever sets the environment or the command line names it
	if err != nil {
		return loadgen.Profile{}, fmt.Errorf("must be one of: %s; or the path of a profile file, which cannot be read: %w",
			strings.Join(loadgen.Names(), ", "), errors.Unwrap(err))
	}
	p, err := loadgen.ParseProfile(text)
	if err != nil {
		return p, fmt.Errorf("must be a valid profile: %w", err)
	}
	return p, nil
}

// Settings say what the next run, or the one under way, is like.
type Settings struct {
	Profile  string          `json:"profile" doc:"Name of the profile that everything not listed here comes from" example:"web-shop"`
	Seed     int64           `json:"seed" doc:"The same seed makes the same traffic; 0 takes the clock at the start" example:"1"`
	Shape    loadgen.Shape   `json:"shape" doc:"The rate over time"`
	Arrivals string          `json:"arrivals" enum:"poisson,even" doc:"How events are spread around the rate: independently of each other, as visitors are, or at equal distances"`
	Volume   loadgen.Volume  `json:"volume" doc:"When the run ends; empty is never"`
	Journey  loadgen.Journey `json:"journey" doc:"The mix of events: for each step of a session the weights of what follows" example:"{\"land\":{\"browse\":28,\"leave\":25},\"browse\":{\"product\":40,\"leave\":19}}"`
	Faults   loadgen.Faults  `json:"faults" doc:"What goes wrong on the way, as shares of the events"`
	Overload string          `json:"overload" enum:"hold,offer" doc:"What happens to events that are refused: hold keeps them back and sends them later, offer gives them up and counts them"`

	profile loadgen.Profile
}

func newSettings(c Config) (Settings, error) {
	p, err := ReadProfile(cmp.Or(c.Profile, "web-shop"))
	if err != nil {
		return Settings{}, fmt.Errorf("read profile: it %w", err)
	}
	if c.Rate > 0 {
		p.Shape, p.Volume = loadgen.Constant(c.Rate), loadgen.Volume{}
	}
	if c.Count > 0 {
		p.Volume = loadgen.Volume{Count: c.Count}
	}
	return Settings{Seed: c.Seed, Overload: cmp.Or(c.Overload, Hold), profile: p}.view(), nil
}

// view brings what is shown in line with the profile.
func (s Settings) view() Settings {
	p := &s.profile
	s.Profile, s.Shape, s.Arrivals, s.Volume, s.Journey, s.Faults = p.Name, p.Shape, string(p.Arrivals), p.Volume, p.Journey, p.Faults
	return s
}

// Change is what to change; what is left out stays.
type Change struct {
	Profile  *string          `json:"profile,omitempty" enum:"web-shop,launch-day,mobile-app,back-fill" doc:"A built-in profile, with all that belongs to it. During a run it begins a new one" example:"launch-day"`
	Seed     *int64           `json:"seed,omitempty" minimum:"0" maximum:"9007199254740991" doc:"During a run it begins a new one" example:"7"`
	Rate     *float64         `json:"rate,omitempty" doc:"Events per second, short for a constant shape" example:"2000"`
	Shape    *loadgen.Shape   `json:"shape,omitempty" doc:"The rate over time, from now on"`
	Arrivals *string          `json:"arrivals,omitempty" enum:"poisson,even" doc:"How events are spread around the rate. During a run it begins a new one"`
	Volume   *loadgen.Volume  `json:"volume,omitempty" doc:"When the run ends, counted from its start. One that has ended goes on when it grows"`
	Journey  *loadgen.Journey `json:"journey,omitempty" doc:"The mix, from each session's next step on" example:"{\"land\":{\"browse\":28,\"leave\":25},\"browse\":{\"product\":40,\"leave\":19}}"`
	Faults   *loadgen.Faults  `json:"faults,omitempty" doc:"What goes wrong; shares left out are zero"`
	Overload *string          `json:"overload,omitempty" enum:"hold,offer" doc:"What happens to events that are refused"`
}

// apply returns the settings after a change, or what is wrong with it.
func (s Settings) apply(c Change) (Settings, error) {
	if c.Rate != nil && c.Shape != nil {
		return s, errors.New("profile.rate: is short for a constant shape: give one of rate and shape")
	}
	if c.Profile != nil {
		p, err := loadgen.Builtin(*c.Profile)
		if err != nil {
			return s, err
		}
		s.profile = p
	}
	p := &s.profile
	if c.Rate != nil {
		p.Shape = loadgen.Constant(*c.Rate)
	}
	if c.Arrivals != nil {
		p.Arrivals = loadgen.Arrivals(*c.Arrivals)
	}
	set(&p.Shape, c.Shape)
	set(&p.Volume, c.Volume)
	set(&p.Journey, c.Journey)
	set(&p.Faults, c.Faults)
	set(&s.Seed, c.Seed)
	set(&s.Overload, c.Overload)
	if err := p.Validate(); err != nil {
		return s, err
	}
	return s.view(), nil
}

func set[T any](dst, value *T) {
	if value != nil {
		*dst = *value
	}
}
