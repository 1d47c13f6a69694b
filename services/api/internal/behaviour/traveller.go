package behaviour

import (
	"iter"
	"slices"
	"time"
)

// funnel follows every user through the steps, event by event, in the order of time.
type funnel struct {
	steps  int
	window int64 // microseconds
	users  *subjects[traveller]
	spare  []attempt // for the next users
}

func newFunnel(steps int, window time.Duration) *funnel {
	return &funnel{steps: steps, window: window.Microseconds(), users: newSubjects[traveller]("users")}
}

// traveller is a user who took the first step. For each depth that an attempt can
// have, at has the one that began last: whatever an earlier one may still come to,
// this one comes to as well. So the state does not grow with the events.
type traveller struct {
	seen int32 // events
	at   []attempt
	best attempt // the first to get as far as this
}

// attempt is a way through some first steps.
type attempt struct {
	start int32   // which of the user's events began it; 0 for no attempt
	label hash    // of that event
	begun int64   // when that was, microseconds
	later []int64 // when the further steps were; most attempts have none
}

func (a *attempt) depth() int {
	if a.start == 0 {
		return 0
	}
	return 1 + len(a.later)
}

// follow makes a the attempt b and one step more.
func (a *attempt) follow(b *attempt, time int64) {
	a.start, a.label, a.begun = b.start, b.label, b.begun
	a.later = append(slices.Grow(a.later[:0], len(b.later)+1), b.later...)
	a.later = append(a.later, time)
}

// add goes on with events in the order of time.
func (f *funnel) add(deeds iter.Seq[*deed]) (err error) {
	for d := range deeds {
		u := f.users.find(d.who)
		if u == nil {
			if d.steps&1 == 0 {
				continue // it may be a later step, but of nothing
			}
			if u, err = f.users.add(d.who); err != nil {
				return err
			}
			if len(f.spare) == 0 {
				f.spare = make([]attempt, subjectBlock*f.steps)
			}
			u.at, f.spare = f.spare[:f.steps:f.steps], f.spare[f.steps:]
		}
		u.take(d, f.window)
	}
	return nil
}

// take goes on with the attempts that the event is a step of. The deepest come first,
// so that an event is one step of an attempt only.
func (u *traveller) take(d *deed, window int64) {
	if u.best.depth() == len(u.at) {
		return // nothing can be better than all steps, soonest
	}
	u.seen++
	for i := len(u.at) - 1; i > 0; i-- {
		from, to := &u.at[i-1], &u.at[i]
		if d.steps&(1<<i) == 0 || from.start == 0 || from.start <= to.start || d.time-from.begun > window {
			continue
		}
		to.follow(from, d.time)
		u.consider(to)
	}
	if d.steps&1 != 0 {
		u.at[0] = attempt{start: u.seen, label: d.label, begun: d.time}
		u.consider(&u.at[0])
	}
}

func (u *traveller) consider(a *attempt) {
	if a.depth() > u.best.depth() {
		u.best = *a
		u.best.later = slices.Clone(a.later)
	}
}

// answer counts the users by how far they got.
func (f *funnel) answer(steps []string, name map[hash]string, grouped bool, limit int) (a Funnel) {
	all := newTally(len(steps))
	for u := range f.users.all() {
		all.add(&u.best)
	}
	a.Steps = all.steps(steps)
	if !grouped {
		return a
	}
	count := map[hash]int64{}
	for u := range f.users.all() {
		count[u.best.label]++
	}
	top, _ := topOf(count, name, limit)
	tallies := map[hash]*tally{}
	for _, t := range top {
		tallies[t.hash] = newTally(len(steps))
	}
	other := newTally(len(steps))
	for u := range f.users.all() {
		t := tallies[u.best.label]
		if t == nil {
			t = other
		}
		t.add(&u.best)
	}
	for _, t := range top {
		a.Groups = append(a.Groups, FunnelGroup{Group: &t.name, Steps: tallies[t.hash].steps(steps)})
	}
	a.Groups = append(a.Groups, FunnelGroup{Other: true, Steps: other.steps(steps)})
	return a
}

// tally counts some users.
type tally struct {
	users []int64   // by step
	took  [][]int64 // by step, the times since the one before
}

func newTally(steps int) *tally { return &tally{make([]int64, steps), make([][]int64, steps)} }

func (t *tally) add(a *attempt) {
	for i, at := 0, a.begun; i < a.depth(); i++ {
		t.users[i]++
		if i > 0 {
			t.took[i] = append(t.took[i], a.later[i-1]-at)
			at = a.later[i-1]
		}
	}
}

func (t *tally) steps(texts []string) []FunnelStep {
	list := make([]FunnelStep, len(texts))
	for i, text := range texts {
		list[i] = FunnelStep{Step: text, Users: t.users[i], OfFirst: share(t.users[i], t.users[0]), OfPrevious: share(t.users[i], t.users[max(0, i-1)])}
		if len(t.took[i]) > 0 {
			slices.Sort(t.took[i])
			median := quantile(t.took[i], 0.5) / 1e6
			list[i].MedianSeconds = &median
		}
	}
	return list
}

func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
