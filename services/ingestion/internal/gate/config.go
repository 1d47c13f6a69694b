package gate

import (
	"errors"
	"time"
)

// Config says how much may wait for the consumer. Above a high mark the gate shuts;
// it opens again once everything is below its low mark.
type Config struct {
	Group      string        `env:"CONSUMER_GROUP" default:"weir" help:"Consumer group that the consumers share."`
	HighEvents int64         `env:"BACKPRESSURE_HIGH_EVENTS" default:"1000000" min:"1" help:"Ingestion refuses events (503) while so many wait for the consumer; as many more as one request holds may be let in."`
	LowEvents  int64         `env:"BACKPRESSURE_LOW_EVENTS" default:"500000" min:"0" help:"Having refused, it accepts again once no more than this wait."`
	HighAge    time.Duration `env:"BACKPRESSURE_HIGH_AGE" default:"30m" min:"1s" help:"Ingestion refuses events while the oldest that waits is this old. Not while there is no consumer group yet."`
	LowAge     time.Duration `env:"BACKPRESSURE_LOW_AGE" default:"10m" min:"0s" help:"Having refused, it accepts again once the oldest is no older than this."`
	MaxMemory  int64         `env:"BACKPRESSURE_MAX_MEMORY" default:"1073741824" min:"16777216" help:"Bytes of memory (used_memory) that ingestion lets Redis grow to; nine tenths of Redis' own maxmemory where that is less."`
}

// Validate implements config.Validator.
func (c Config) Validate() error {
	var errs []error
	if c.LowEvents >= c.HighEvents {
		errs = append(errs, errors.New("BACKPRESSURE_LOW_EVENTS must be below BACKPRESSURE_HIGH_EVENTS"))
	}
	if c.LowAge >= c.HighAge {
		errs = append(errs, errors.New("BACKPRESSURE_LOW_AGE must be below BACKPRESSURE_HIGH_AGE"))
	}
	return errors.Join(errs...)
}
