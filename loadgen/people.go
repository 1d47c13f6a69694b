package loadgen

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// This file holds the oracle's answers about people: who, in which order, and
// whether they came back. An actor is an event's Actor: the user when known, else
// the anonymous visitor; a person who logs in is two.

// UniqueActors counts the actors of the hours that begin in [from, to).
func (o *Oracle) UniqueActors(from, to time.Time) int {
	return o.active(from, to).len()
}

func (o *Oracle) active(from, to time.Time) bitset {
	all := newBitset(2 * o.profile.Audience.People)
	for unix, h := range o.hours {
		if begin := time.Unix(unix*3600, 0); !begin.Before(from) && begin.Before(to) {
			all.union(h.actors)
		}
	}
	return all
}

// Cohort is the actors whose first event lies on one day, UTC.
type Cohort struct {
	Day    time.Time `json:"day"`
	Active []int     `json:"active"` // how many of them came that day, the day after, and so on to the last day
}

// Retention returns the cohorts of every day from the first event to the last.
func (o *Oracle) Retention() (cohorts []Cohort) {
	if len(o.hours) == 0 {
		return nil
	}
	hours := slices.Sorted(maps.Keys(o.hours))
	const day = 24
	var active []bitset
	begin := hours[0] / day * day
	for at := begin; at <= hours[len(hours)-1]; at += day {
		active = append(active, o.active(time.Unix(at*3600, 0), time.Unix((at+day)*3600, 0)))
	}
	seen := newBitset(2 * o.profile.Audience.People)
	for i := range active {
		cohort := Cohort{Day: time.Unix((begin+int64(i)*day)*3600, 0).UTC()}
		fresh := active[i].without(seen)
		seen.union(fresh)
		for _, later := range active[i:] {
			cohort.Active = append(cohort.Active, fresh.common(later))
		}
		cohorts = append(cohorts, cohort)
	}
	return cohorts
}

// FunnelSteps are the steps of the oracle's funnel.
var FunnelSteps = types[:typePurchase+1]

// Funnel returns how many actors came as far as each of FunnelSteps: have an
// event of every type up to it, each later than the one before, at any distance.
func (o *Oracle) Funnel() []int { return o.funnel.evaluate() }

// funnel keeps what the answer can depend on: of page views, which are many, the
// first of each actor, and of the rest all, because late ones come out of order.
type funnel struct {
	viewed []int64 // by actor: microseconds of the first page view, or 0
	marks  []mark
}

type mark struct {
	time  int64 // microseconds
	actor int32
	step  int32
}

func newFunnel(people int) funnel { return funnel{viewed: make([]int64, 2*people)} }

func (f *funnel) count(d *deed) {
	if d.kind > typePurchase {
		return
	}
	at := d.time.UnixMicro()
	if d.kind > typePageView {
		f.marks = append(f.marks, mark{at, int32(d.actor), int32(d.kind)})
	} else if first := &f.viewed[d.actor]; *first == 0 || at < *first {
		*first = at
	}
}

func (f *funnel) evaluate() []int {
	reached := make([]int, len(FunnelSteps))
	for _, first := range f.viewed {
		if first > 0 {
			reached[typePageView]++
		}
	}
	slices.SortFunc(f.marks, func(a, b mark) int {
		return cmp.Or(cmp.Compare(a.actor, b.actor), cmp.Compare(a.time, b.time))
	})
	actor, step, at := int32(-1), int32(0), int64(0) // whom, the last step taken, and when
	for _, m := range f.marks {
		if m.actor != actor {
			actor, step, at = m.actor, typePageView, f.viewed[m.actor]
		}
		if at > 0 && m.step == step+1 && m.time > at {
			step, at = m.step, m.time
			reached[step]++
		}
	}
	return reached
}
