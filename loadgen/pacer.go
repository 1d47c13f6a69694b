package loadgen

import (
	"math/rand/v2"
	"time"
)

// Arrivals is how events are spread around the rate.
type Arrivals string

const (
	Poisson Arrivals = "poisson" // independent of each other, as visitors are
	Even    Arrivals = "even"    // at equal distances
)

// cell is how long the pacer takes the rate as constant, at the value of the
// cell's middle. A straight line is exact so; a spike's edge is 10 ms wide.
const cell = float64(10 * time.Millisecond)

// Pacer computes when events are due under a shape. It is open loop: the
// instants depend on nothing that the receiver does, so whoever is behind them
// knows by how much. It reads no clock and is not safe for concurrent use.
type Pacer struct {
	shape    Shape
	arrivals Arrivals
	season   func(time.Duration) float64 // factor on the rate; nil is 1
	rand     *rand.Rand

	// In nanoseconds since the start. Floats, because cutting each distance to a
	// whole nanosecond would make a million events per second 0.05% too fast.
	begun float64 // when the shape began
	at    float64 // the last event
	until float64 // end of the current cell

	rate float64 // events per nanosecond in the current cell
}

// NewPacer returns a pacer whose shape begins at offset 0.
func NewPacer(shape Shape, arrivals Arrivals, seed uint64) *Pacer {
	return &Pacer{shape: shape, arrivals: arrivals, rand: newRand(seed, streamArrivals)}
}

// Next returns the offset from the start at which the next event is due.
func (p *Pacer) Next() time.Duration {
	work := 1.0 // events' worth of rate until the next one
	if p.arrivals == Poisson {
		work = p.rand.ExpFloat64()
	}
	for {
		if room := (p.until - p.at) * p.rate; work < room {
			p.at += work / p.rate
			return time.Duration(p.at)
		} else {
			work -= room
		}
		p.enterCell(p.until)
	}
}

// SetShape lets a new shape begin at the last event's offset.
func (p *Pacer) SetShape(s Shape) { p.begin(s, p.at) }

// SetShapeAt lets a new shape begin at an offset, and the next event come after it.
func (p *Pacer) SetShapeAt(s Shape, at time.Duration) { p.begin(s, float64(at)) }

// Skip lets the next event come after an offset.
func (p *Pacer) Skip(to time.Duration) { p.enterCell(float64(to)) }

func (p *Pacer) begin(s Shape, at float64) {
	p.shape, p.begun = s, at
	p.enterCell(at)
}

// Rate returns the intended rate at the last event's offset, in events per second.
func (p *Pacer) Rate() float64 { return p.rate * float64(time.Second) }

func (p *Pacer) enterCell(from float64) {
	p.at, p.until = from, from+cell
	middle := from + cell/2
	p.rate = p.shape.At(time.Duration(middle-p.begun)) / float64(time.Second)
	if p.season != nil {
		p.rate *= p.season(time.Duration(middle))
	}
}
