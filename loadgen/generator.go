// Package loadgen makes up event traffic that is realistic, reproducible, and
// whose right answers are known. A Profile says what the traffic is like; with a
// seed and a start it gives one sequence of items, always the same. It reads no
// clock, does no I/O and starts no goroutine: the caller sends each item when it
// is due, and knows by how much it was late.
//
//	profile, err := loadgen.Builtin("web-shop")
//	g, err := loadgen.New(profile, 1, time.Now())
//	oracle := g.Oracle() // optional: what a correct pipeline must show
//	for {
//		item, ok := g.Next(buf[:0])
//		if !ok {
//			break
//		}
//		// wait until start + item.At, then send item.Payload
//	}
//
// An item comes about in three stages, each in its own file: pacer.go says when
// something is due, session.go whose turn it is and what they do, fault.go what
// goes wrong on the way.
package loadgen

import (
	"fmt"
	"math/rand/v2"
	"time"

	"weir/services/shared/event"
)

// Kind is what an item is to the pipeline.
type Kind uint8

// The kinds. A correct pipeline stores Fresh and Late once each, ignores
// Duplicate, and puts Malformed among the dead letters.
const (
	Fresh     Kind = iota // happens as it is sent
	Late                  // happened before
	Duplicate             // the same bytes were sent before
	Malformed             // no valid event
)

var kindNames = [...]string{"fresh", "late", "duplicate", "malformed"}

func (k Kind) String() string { return kindNames[k] }

// Item is one payload to send.
type Item struct {
	Payload []byte        // what Next was given, extended by the event as JSON
	At      time.Duration // when it is due: offset from the start
	Kind    Kind
	ID      event.UUID // the event's; of a malformed one the one that it would have had
	Actor   string     // who did it, for choosing a partition
}

// Generator produces the items of one run, in the order in which they are due.
// It is not safe for concurrent use; for several cores, run several with
// different seeds.
type Generator struct {
	profile  Profile
	pacer    *Pacer
	world    world
	visitors visitors
	ids      *rand.Rand
	faults   *rand.Rand
	repeater repeater
	oracle   *Oracle

	items  int64
	due    time.Duration // of the next item, if it is drawn
	drawn  bool
	latest time.Duration // of the last item
	event  event.Event   // of the current item; reused
}

// New returns a generator whose offsets count from start. Runs with the same
// profile, seed and start produce the same bytes.
func New(p Profile, seed uint64, start time.Time) (*Generator, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	w := world{p.Clock, start.UTC().Truncate(time.Microsecond)}
	if w.time(0).Add(-maxLate).Before(event.MinTime) {
		return nil, fmt.Errorf("profile: clock.lookback: events would be older than %s", event.MinTime.Format(time.DateOnly))
	}
	faults := newRand(seed, streamFaults)
	g := &Generator{
		profile: p,
		pacer:   NewPacer(p.Shape, p.Arrivals, seed),
		world:   w,
		visitors: visitors{
			rand:     newRand(seed, streamBehaviour),
			audience: newAudience(p.Audience, seed),
			site:     newCatalogue(p.Site),
			gap:      newLogNormal(time.Duration(p.Sessions.Gap).Seconds(), p.Sessions.Spread),
		},
		ids:      newRand(seed, streamIDs),
		faults:   faults,
		repeater: repeater{rand: faults},
	}
	g.pacer.season = func(at time.Duration) float64 { return g.profile.Season.factor(w.time(at)) }
	g.pacer.SetShape(p.Shape) // anew, now that there is a season
	if err := g.SetFaults(p.Faults); err != nil {
		return nil, err
	}
	if err := g.SetJourney(p.Journey); err != nil {
		return nil, err
	}
	g.visitors.fill(g.wanted(0))
	return g, nil
}

// Peek returns when the next item is due, without making it. It reports false when
// the volume is reached.
func (g *Generator) Peek() (time.Duration, bool) {
	if g.profile.Volume.reached(g.items, 0) {
		return 0, false
	}
	if !g.drawn {
		g.due, g.drawn = g.pacer.Next(), true
	}
	return g.due, !g.profile.Volume.reached(g.items, g.due)
}

// Next appends the next item's payload to dst. It reports false when the volume
// is reached.
func (g *Generator) Next(dst []byte) (Item, bool) {
	at, ok := g.Peek()
	if !ok {
		return Item{}, false
	}
	g.drawn, g.latest = false, at
	g.items++

	if again, ok := g.repeater.due(g.items); ok {
		again.Payload = append(dst, again.Payload...)
		again.At, again.Kind = at, Duplicate
		g.oracle.skip(Duplicate)
		return again, true
	}

	did := g.happen(at)
	item := Item{At: at, ID: g.event.ID, Actor: g.event.Actor()}
	if g.faults.Float64() < g.profile.Faults.Malformed/(g.profile.Faults.good()+g.profile.Faults.Malformed) {
		item.Kind = Malformed
		item.Payload = appendMalformed(dst, &g.event, g.faults)
		g.oracle.skip(Malformed)
		return item, true
	}
	if did.late {
		item.Kind = Late
	}
	item.Payload = g.event.AppendJSON(dst)
	g.repeater.offer(g.items, item, item.Payload[len(dst):])
	g.oracle.count(&did)
	return item, true
}

// happen lets whoever's turn it is take one step, and leaves it in g.event.
func (g *Generator) happen(at time.Duration) deed {
	v := &g.visitors
	slot := v.foremost(g.wanted(at))
	s := &v.open[slot]
	did := g.act(s, g.world.time(at).Add(-s.behind))
	v.proceed(slot)
	return did
}

func (g *Generator) wanted(at time.Duration) int {
	return g.visitors.wanted(g.pacer.Rate() / g.world.speed(at))
}

// Oracle returns the oracle, which counts from its first call on: call it before
// the first Next. Without it a generator is a little faster and smaller.
func (g *Generator) Oracle() *Oracle {
	if g.oracle == nil {
		g.oracle = newOracle(g.profile, g.visitors.audience, g.visitors.site)
	}
	return g.oracle
}

// Rate returns the intended rate at the last item's offset, season included, in
// items per second.
func (g *Generator) Rate() float64 { return g.pacer.Rate() }

// Profile returns what is generated, with the changes made since.
func (g *Generator) Profile() Profile { return g.profile }

// SetShape lets a new rate shape begin at the last item's offset.
func (g *Generator) SetShape(s Shape) error { return g.SetShapeAt(s, g.latest) }

// SetShapeAt lets a new rate shape begin at an offset of the run, such as now: what is
// not due until then is drawn anew, so a change takes effect at once however long the
// wait for the next item was. Where items are behind, it begins with the next of them.
func (g *Generator) SetShapeAt(s Shape, at time.Duration) error {
	if err := s.Validate(); err != nil {
		return err
	}
	g.profile.Shape = s
	if g.drawn && g.due <= at {
		g.pacer.SetShape(s)
		return nil
	}
	g.drawn = false
	g.pacer.SetShapeAt(s, max(at, g.latest))
	return nil
}

// Skip leaves out what would be due before an offset of the run: for one that has
// rested, and is not to make up for it.
func (g *Generator) Skip(to time.Duration) {
	if to > g.latest && (!g.drawn || g.due < to) {
		g.drawn = false
		g.pacer.Skip(to)
	}
}

// SetVolume changes when the generator ends, both counted from the start. One
// that has ended goes on when the new volume is larger.
func (g *Generator) SetVolume(v Volume) error {
	if err := check("volume", v); err != nil {
		return err
	}
	g.profile.Volume = v
	return nil
}

// SetJourney changes the mix of events: from their next step on, all sessions
// follow the new chain.
func (g *Generator) SetJourney(j Journey) error {
	if err := check("journey", j); err != nil {
		return err
	}
	c, err := newChain(j)
	if err != nil {
		return err
	}
	g.profile.Journey = j
	g.visitors.setChain(c)
	return nil
}

// SetFaults changes what goes wrong. Lateness changes with the sessions that
// begin from now on; what was to be sent again still is.
func (g *Generator) SetFaults(f Faults) error {
	if err := f.Validate(); err != nil {
		return err
	}
	g.profile.Faults = f
	g.visitors.lateness = newLateness(f, g.faults)
	g.repeater.set(f)
	return nil
}
