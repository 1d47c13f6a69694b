package loadgen

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"weir/services/shared/event"
)

// Faults is what goes wrong on the way, as shares of the items sent.
type Faults struct {
	Late      float64  `json:"late" required:"false" doc:"Share of events of sessions lived offline, sent later than they happened" example:"0.01"`
	LateBy    Duration `json:"late_by" required:"false" doc:"Median of how much later, in simulated time; log-normal, a week at most" example:"20m"`
	Retried   float64  `json:"retried" required:"false" doc:"Share of natural duplicates: a client sends an event again, 10 to 5,000 items later" example:"0.002"`
	Doubled   float64  `json:"doubled" required:"false" doc:"Share of synthetic duplicates: an event is sent twice in a row" example:"0.001"`
	Malformed float64  `json:"malformed" required:"false" doc:"Share of items that are no valid event" example:"0.001"`
}

// Validate reports whether the faults keep the rules of the profile's schema and
// leave at least half of the items good.
func (f Faults) Validate() error {
	if err := check("faults", f); err != nil {
		return err
	}
	if f.good() < 0.5 {
		return errors.New("faults: retried, doubled and malformed must together be 0.5 at most")
	}
	return nil
}

// good is the share of items that are neither duplicate nor malformed.
func (f Faults) good() float64 { return 1 - f.Retried - f.Doubled - f.Malformed }

// lateness draws by how much a session's events are late. It is a session's and
// not an event's: who was offline stays so for a while, and the order within the
// session is kept.
type lateness struct {
	rand  *rand.Rand
	share float64
	delay logNormal // seconds
}

const maxLate = 7 * 24 * time.Hour

func newLateness(f Faults, r *rand.Rand) lateness {
	return lateness{r, f.Late / f.good(), newLogNormal(time.Duration(f.LateBy).Seconds(), 1)}
}

func (l *lateness) draw() time.Duration {
	if l.rand.Float64() >= l.share {
		return 0
	}
	late := time.Duration(min(l.delay.draw(l.rand), maxLate.Seconds()) * float64(time.Second))
	return max(late.Truncate(time.Microsecond), time.Microsecond)
}

// repeater keeps copies of what is to be sent again.
type repeater struct {
	rand             *rand.Rand
	retried, doubled float64 // probability that a good event is
	queue            queue   // due is the number of the item
	copies           []Item
	free             []int
}

// The items between an event and its retry: from within a batch to several
// batches later, each order of magnitude as often as the next.
const nearestRetry, furthestRetry = 10, 5000

func (r *repeater) set(f Faults) { r.retried, r.doubled = f.Retried/f.good(), f.Doubled/f.good() }

// offer decides whether item number n, whose event is payload, will be sent again.
func (r *repeater) offer(n int64, item Item, payload []byte) {
	if r.rand.Float64() < r.retried {
		lag := nearestRetry * math.Pow(furthestRetry/nearestRetry, r.rand.Float64())
		r.keep(float64(n)+lag, item, payload)
	}
	if r.rand.Float64() < r.doubled {
		r.keep(float64(n)+1, item, payload)
	}
}

func (r *repeater) keep(due float64, item Item, payload []byte) {
	var slot int
	if n := len(r.free); n > 0 {
		slot, r.free = r.free[n-1], r.free[:n-1]
	} else {
		slot = len(r.copies)
		r.copies = append(r.copies, Item{})
	}
	item.Payload = append(r.copies[slot].Payload[:0], payload...)
	r.copies[slot] = item
	r.queue.push(turn{due, slot})
}

// due returns what is to be sent again as item number n, if anything. Its payload
// is good until the next offer.
func (r *repeater) due(n int64) (item Item, ok bool) {
	if len(r.queue) == 0 || r.queue[0].due > float64(n) {
		return Item{}, false
	}
	slot := r.queue.pop().slot
	r.free = append(r.free, slot)
	return r.copies[slot], true
}

// appendMalformed appends a payload that event.Parse or event.Validate refuses,
// made from a good event, one of six ways. It never holds a line break.
func appendMalformed(dst []byte, e *event.Event, r *rand.Rand) []byte {
	start := len(dst)
	switch r.IntN(6) {
	case 0:
		e.Type = "Page View"
	case 1:
		e.Country = "Germany"
	case 2:
		e.UserID, e.AnonymousID = "", ""
	case 3:
		e.Time = time.Unix(0, 0).UTC()
	case 4:
		dst = e.AppendJSON(dst)
		return append(dst[:len(dst)-1], `,"colour":"red"}`...)
	case 5:
		dst = e.AppendJSON(dst)
		return dst[:start+(len(dst)-start)/2]
	}
	return e.AppendJSON(dst)
}
