package behaviour

import (
	"cmp"
	"iter"
	"slices"
)

// trails follows every session past the event that the paths are about, or up to it.
type trails struct {
	steps    int
	before   bool
	sessions *subjects[trail]
}

func newTrails(steps int, before bool) *trails {
	return &trails{steps, before, newSubjects[trail]("sessions")}
}

// trail is a session: the event that the paths are about, and what was done next to
// it, nearest first. Before that event is found, it is what may lead to it.
type trail struct {
	found  bool
	length int8
	events [maxPathSteps + 1]hash
}

// add goes on with events in the order of time.
func (t *trails) add(deeds iter.Seq[*deed]) (err error) {
	for d := range deeds {
		s := t.sessions.find(d.who)
		starts := d.steps&1 != 0
		if s == nil {
			if !starts && !t.before {
				continue
			}
			if s, err = t.sessions.add(d.who); err != nil {
				return err
			}
		}
		switch {
		case t.before && !s.found: // the newest goes in front, and the oldest falls out
			copy(s.events[1:], s.events[:t.steps])
			s.events[0], s.found = d.label, starts
			s.length = min(s.length+1, int8(t.steps+1))
		case !t.before && (s.found || starts) && int(s.length) <= t.steps:
			s.events[s.length], s.found = d.label, true
			s.length++
		}
	}
	return nil
}

// answer counts the sessions by the way that they went.
func (t *trails) answer(name map[hash]string, limit int) (a Paths) {
	ways := map[trail]int64{}
	for s := range t.sessions.all() {
		if s.found {
			ways[*s]++
			a.Sessions++
		}
	}
	for w, n := range ways {
		a.Paths = append(a.Paths, PathCount{t.path(w, name), n, share(n, a.Sessions)})
	}
	slices.SortFunc(a.Paths, func(x, y PathCount) int {
		return cmp.Or(cmp.Compare(y.Sessions, x.Sessions), slices.Compare(x.Path, y.Path))
	})
	a.Paths, a.Other = append([]PathCount{}, a.Paths[:min(limit, len(a.Paths))]...), a.Sessions
	for _, p := range a.Paths {
		a.Other -= p.Sessions
	}
	a.Transitions = t.transitions(ways, name, limit)
	return a
}

// path names the events in the order of time.
func (t *trails) path(w trail, name map[hash]string) []string {
	list := make([]string, w.length)
	for i := range list {
		list[i] = name[w.events[i]]
	}
	if t.before {
		slices.Reverse(list)
	}
	return list
}

func (t *trails) transitions(ways map[trail]int64, name map[hash]string, limit int) []Transition {
	all := []Transition{}
	for step := 1; step <= t.steps; step++ {
		count := map[[2]hash]int64{}
		var total int64
		for w, n := range ways {
			if int(w.length) > step {
				count[[2]hash{w.events[step-1], w.events[step]}] += n
				total += n
			}
		}
		var list []Transition
		for pair, n := range count {
			from, to := name[pair[0]], name[pair[1]]
			if t.before {
				from, to = to, from
			}
			list = append(list, Transition{Step: step, From: from, To: to, Sessions: n})
		}
		slices.SortFunc(list, func(a, b Transition) int {
			return cmp.Or(cmp.Compare(b.Sessions, a.Sessions), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
		})
		list = list[:min(limit, len(list))]
		for _, l := range list {
			total -= l.Sessions
		}
		if all = append(all, list...); total > 0 {
			all = append(all, Transition{Step: step, Other: true, Sessions: total})
		}
	}
	return all
}
