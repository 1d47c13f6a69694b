package retention

import (
	"errors"
	"fmt"
	"time"
)

// Config says how long to keep what. By default all is kept for ever: what to delete
// is for a person to decide, and an age that nobody chose would delete the past that
// somebody is just loading. Compressing loses nothing, so it is on.
type Config struct {
	Events      time.Duration `env:"RETENTION_EVENTS" default:"0" help:"Age at which events are dropped, such as 90d; 0 keeps them for ever. What an event added to the rollups stays."`
	Minutes     time.Duration `env:"RETENTION_MINUTES" default:"0" help:"Age at which the rollups by minute are dropped; not below RETENTION_EVENTS. 0 keeps them for ever."`
	Hours       time.Duration `env:"RETENTION_HOURS" default:"0" help:"Age at which the rollups by hour are dropped; not below RETENTION_MINUTES. 0 keeps them for ever."`
	Days        time.Duration `env:"RETENTION_DAYS" default:"0" help:"Age at which the rollups by day are dropped; not below RETENTION_HOURS. 0 keeps them for ever."`
	DeadLetters time.Duration `env:"RETENTION_DEAD_LETTERS" default:"0" help:"Age at which dead letters are deleted, replayed or not; 0 keeps them for ever."`
	Compress    time.Duration `env:"COMPRESS_AFTER" default:"7d" help:"Age at which events and rollups are compressed, on TimescaleDB's Community edition; 0 never does."`
	Every       time.Duration `env:"RETENTION_INTERVAL" default:"15m" min:"1s" max:"12h" help:"How often to look for what is past its age, and to create the next chunks ahead of time."`
}

// least is the youngest age: what is dropped is a chunk, and these span a day at least.
const least = 24 * time.Hour

// Validate implements config.Validator. The order of the ages is what the rest relies
// on: events are listed by the minutes that have some, and a question about a span is
// answered by days, and by hours and minutes at its ends.
func (c Config) Validate() error {
	var errs []error
	ages := []struct {
		name string
		age  time.Duration
	}{
		{"RETENTION_EVENTS", c.Events}, {"RETENTION_MINUTES", c.Minutes}, {"RETENTION_HOURS", c.Hours}, {"RETENTION_DAYS", c.Days},
		{"RETENTION_DEAD_LETTERS", c.DeadLetters}, {"COMPRESS_AFTER", c.Compress},
	}
	for _, a := range ages {
		if a.age != 0 && a.age < least {
			errs = append(errs, fmt.Errorf("%s must be 0 or at least 1d", a.name))
		}
	}
	for i, a := range ages[1:4] {
		if finer := ages[i]; a.age >= least && (finer.age == 0 || finer.age > a.age) {
			errs = append(errs, fmt.Errorf("%s must be 0 (for ever) or at least %s, which is finer and is not kept longer", a.name, finer.name))
		}
	}
	return errors.Join(errs...)
}
