package loadgen

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// session is one visit of one person, waiting for its next step.
type session struct {
	number   int // 1 is the first
	person   person
	referrer int
	behind   time.Duration // how much later than they happen its events are sent

	next       int   // the step that comes next
	page       int   // where the visitor is
	basket     int64 // value of what is in the cart, millionths
	identified bool  // logged in: its events carry the user id

	anonymousID, userID, sessionID string
}

// visitors are the sessions under way.
//
// The rate says when an event is due; visitors says whose it is. As many sessions
// are kept open as the rate needs for the gaps to be as long as the profile
// says: events wait in the order of their gaps, the foremost takes the turn, and
// when a session is missing, a new one lands. So both hold at once: the rate
// exactly, and the gaps' distribution, on a clock that advances at the pace of
// the simulated one while the number of sessions fits.
type visitors struct {
	rand     *rand.Rand
	audience *audience
	site     *catalogue
	chain    *chain
	gap      logNormal // seconds
	perEvent float64   // mean time that an event keeps a session open, seconds
	lateness lateness

	open   []session
	free   []int // slots of open that are empty
	queue  queue
	now    float64 // seconds on the sessions' own clock
	opened int
}

// maxOpen bounds memory (8 MB) and keeps the queue in the processor's cache:
// with 200,000 an event takes a third longer.
const maxOpen = 20_000

func (v *visitors) setChain(c *chain) {
	v.chain = c
	visits, _ := c.walk(leave)
	// The last event of a session has no gap after it.
	v.perEvent = v.gap.mean() * (1 - 1/sum(visits))
}

// wanted is the number of open sessions that a rate needs, in events per
// simulated second.
func (v *visitors) wanted(rate float64) int {
	return int(math.Ceil(min(max(rate*v.perEvent, 1), maxOpen)))
}

// fill opens sessions that began before the run, so that the first seconds have
// the mix of all others instead of landings only. What comes next in them, and
// how soon, is drawn from the distribution that a long run settles in.
func (v *visitors) fill(count int) {
	visits, _ := v.chain.walk(leave)
	if visits[land] = 0; sum(visits) == 0 {
		return // every session is one event long
	}
	underWay := newWeighted(visits[:])
	for range count {
		slot := v.enter()
		v.open[slot].next = underWay.pick(v.rand.Uint64())
		v.queue.push(turn{v.gap.residual(v.rand), slot})
	}
}

// foremost takes out the session whose turn it is.
func (v *visitors) foremost(wanted int) (slot int) {
	if len(v.queue) < wanted {
		return v.enter()
	}
	t := v.queue.pop()
	v.now = t.due
	return t.slot
}

// proceed decides what the session does after its step, and when.
func (v *visitors) proceed(slot int) {
	s := &v.open[slot]
	s.next = v.chain.next[s.next].pick(v.rand.Uint64())
	if s.next == leave {
		v.free = append(v.free, slot)
		return
	}
	v.queue.push(turn{v.now + v.gap.draw(v.rand), slot})
}

// enter opens a session.
func (v *visitors) enter() (slot int) {
	if n := len(v.free); n > 0 {
		slot, v.free = v.free[n-1], v.free[:n-1]
	} else {
		slot = len(v.open)
		v.open = append(v.open, session{})
	}
	v.opened++
	s := &v.open[slot]
	*s = session{
		number:   v.opened,
		person:   v.audience.somebody(v.rand),
		referrer: v.audience.origin(v.rand),
		behind:   v.lateness.draw(),
		next:     land,
		page:     v.site.entry(v.rand),
	}
	s.name(mix(^v.audience.seed + uint64(v.opened)))
	return slot
}

// name makes the session's three ids, in one allocation.
func (s *session) name(key uint64) {
	var buf [64]byte
	b := appendHex(append(buf[:0], "a-"...), s.person.key)
	b = appendHex(append(b, "s-"...), key)
	b = strconv.AppendInt(append(b, "u-"...), int64(s.person.rank)+1, 10)
	ids := string(b)
	s.anonymousID, s.sessionID, s.userID = ids[:18], ids[18:36], ids[36:]
}

func appendHex(dst []byte, x uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, digits[x>>shift&15])
	}
	return dst
}
