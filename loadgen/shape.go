package loadgen

import (
	"math"
	"time"
)

// Shape is a rate over time: events per second as a function of the time since
// it began. It is a plain value; Pacer turns it into the instants of events.
type Shape struct {
	Form   Form     `json:"form" enum:"constant,ramp,steps,sine,spike" doc:"How the rate moves between rate and peak"`
	Rate   float64  `json:"rate" doc:"Events per second at the beginning" example:"500"`
	Peak   float64  `json:"peak,omitempty" doc:"Events per second at the other end; not for constant" example:"2000"`
	Period Duration `json:"period,omitempty" doc:"Time of the ramp, of each step, of one sine wave, or in which a spike halves" example:"1m"`
	Steps  int      `json:"steps,omitempty" doc:"How many levels, the first and the last included; for steps only" example:"5"`
	Delay  Duration `json:"delay,omitempty" doc:"Time at the first rate before the movement begins" example:"30s"`
}

// Form is the way a Shape moves.
type Form string

// The forms. Between them, Rate is where the movement starts and Peak its other
// end, which may lie lower.
const (
	FormConstant Form = "constant" // stays at Rate
	FormRamp     Form = "ramp"     // goes straight to Peak within Period, and stays
	FormSteps    Form = "steps"    // climbs to Peak in equal stairs of one Period each, and stays
	FormSine     Form = "sine"     // swings from Rate to Peak and back once in each Period
	FormSpike    Form = "spike"    // jumps to Peak; what is above Rate halves in each Period
)

// Constant is the shape of an even rate, in events per second.
func Constant(rate float64) Shape { return Shape{Form: FormConstant, Rate: rate} }

// At returns the rate, in events per second, at a time since the shape began.
func (s Shape) At(elapsed time.Duration) float64 {
	moved := elapsed - time.Duration(s.Delay)
	if moved < 0 || s.Form == FormConstant {
		return s.Rate
	}
	periods := moved.Seconds() / time.Duration(s.Period).Seconds()
	var share float64 // of the way to the peak
	switch s.Form {
	case FormRamp:
		share = min(periods, 1)
	case FormSteps:
		share = min(math.Floor(periods)/float64(s.Steps-1), 1)
	case FormSine:
		share = (1 - math.Cos(2*math.Pi*periods)) / 2
	case FormSpike:
		share = math.Exp2(-periods)
	}
	return s.Rate + share*(s.Peak-s.Rate)
}

// Validate reports whether the shape keeps the rules of the profile's schema,
// naming each field that does not.
func (s Shape) Validate() error { return check("shape", s) }
