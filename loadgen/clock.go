package loadgen

import (
	"math"
	"time"
)

// Clock says when the simulated world's events happen.
type Clock struct {
	// Multiplier is how many seconds pass in the simulated world in one second of
	// the run. Above 1 it needs a Lookback to run through.
	Multiplier float64 `json:"multiplier" doc:"Simulated seconds per second of the run" example:"1"`

	// Lookback is how long before the run's start the simulated world starts. When
	// its clock has caught up with the run it goes on at the run's pace, because
	// events from the future would be refused.
	Lookback Duration `json:"lookback" doc:"How long before the run's start the first event happens" example:"0s"`
}

// Season is how the rate follows the hour and the weekday (UTC) of the simulated
// clock. Over whole weeks its mean is 1, so a shape's rate stays the mean rate.
type Season struct {
	Daily    float64 `json:"daily" doc:"Swing around the day's mean: 0.5 is from half to one and a half" example:"0.5"`
	PeakHour float64 `json:"peak_hour" doc:"Busiest hour of the day, UTC" example:"20"`
	Weekend  float64 `json:"weekend" doc:"By how much a weekend's day exceeds a working day: 0.2 is 20% more, -0.2 is 20% less" example:"0.1"`
}

// world is a Clock set to a run's start.
type world struct {
	Clock
	start time.Time // UTC, whole microseconds
}

// time returns when what is due at this offset of the run happens.
func (w *world) time(at time.Duration) time.Time {
	return w.start.Add(min(at, w.simulated(at))).Truncate(time.Microsecond)
}

// speed returns the simulated seconds per second of the run at this offset.
func (w *world) speed(at time.Duration) float64 {
	if w.simulated(at) < at {
		return w.Multiplier
	}
	return min(w.Multiplier, 1)
}

func (w *world) simulated(at time.Duration) time.Duration {
	return time.Duration(float64(at)*w.Multiplier) - time.Duration(w.Lookback)
}

func (s Season) factor(t time.Time) float64 {
	hour := t.Sub(t.Truncate(24 * time.Hour)).Hours()
	day := 1 + s.Daily*math.Cos((hour-s.PeakHour)/24*2*math.Pi)
	week := 7 / (5 + 2*(1+s.Weekend))
	if d := t.Weekday(); d == time.Saturday || d == time.Sunday {
		week *= 1 + s.Weekend
	}
	return day * week
}
