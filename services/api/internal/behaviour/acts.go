package behaviour

import (
	"slices"
	"sort"

	"weir/services/api/internal/filter"
	"weir/services/shared/event"
)

// acts are the events of a piece as the memory keeps them: 24 bytes each, and actSize with
// what they have in common.
type acts struct {
	piece
	start int64 // of the piece, microseconds since 1970
	common
	list []act // in the order of time, then id
	tags knownTags
}

// common is what events have in common.
type common struct {
	whats   []what
	origins []origin
	kinds   []kind
}

// act is an event: enough to follow users and sessions through types and paths, by where they
// come from.
type act struct {
	after          uint32 // the start of the piece, microseconds: an hour has fewer than 2^32
	kind           uint32 // which of the piece's kinds
	actor, session hash   // session is 0 without one
}

// kind is what an event is and its origin, by their numbers.
type kind struct{ what, origin uint32 }

// what is a type with a path, of which a site has far fewer than events.
type what struct {
	typ, path          string // path is "" without one
	typeHash, pathHash hash
}

// origin is the same for all that one does in a session, mostly. Fields are "" without one.
type origin struct{ source, country, device, browser, os string }

// remembered are the fields that whats and origins have.
var (
	whats      = []string{"type", "path"}
	origins    = []string{"source", "country", "device", "browser", "os"}
	remembered = slices.Concat(whats, origins)
)

func (w *what) in(e *event.Event) { e.Type, e.Path = w.typ, w.path }

func (o *origin) in(e *event.Event) {
	e.Source, e.Country, e.Device, e.Browser, e.OS = o.source, o.country, o.device, o.browser, o.os
}

// spread tells of each kind what fn tells of an event that is like it. It is asked once of
// each type and path, or of each origin, if that is all that it wants to know, which within
// tells; and of each kind else.
func spread[R any](a *acts, within func(fields ...string) bool, fn func(*event.Event) R) []R {
	list := make([]R, len(a.kinds))
	var e event.Event // one for all: of a busy day there are hundreds of thousands of kinds
	switch {
	case within(whats...):
		each := make([]R, len(a.whats))
		for i := range a.whats {
			a.whats[i].in(&e)
			each[i] = fn(&e)
		}
		for i, k := range a.kinds {
			list[i] = each[k.what]
		}
	case within(origins...):
		each := make([]R, len(a.origins))
		for i := range a.origins {
			a.origins[i].in(&e)
			each[i] = fn(&e)
		}
		for i, k := range a.kinds {
			list[i] = each[k.origin]
		}
	default:
		for i, k := range a.kinds {
			a.whats[k.what].in(&e)
			a.origins[k.origin].in(&e)
			list[i] = fn(&e)
		}
	}
	return list
}

// taken tells of each kind whether a filter within what is remembered takes it.
func (a *acts) taken(by filter.Expr) []bool { return spread(a, by.Within, by.Match) }

// masks has a bit of each kind for each filter that takes it; none for those that ask for more
// than kinds tell, see tagged.
func (a *acts) masks(filters ...filter.Expr) []uint16 {
	list := make([]uint16, len(a.kinds))
	for bit, f := range filters {
		if !f.Within(remembered...) {
			continue
		}
		for i, taken := range a.taken(f) {
			if taken {
				list[i] |= 1 << bit
			}
		}
	}
	return list
}

// labels are the hashes of a field of the kinds that are wanted, 0 when it has none. known
// gets their texts.
func (a *acts) labels(field string, known *names, wanted func(kind int) bool) ([]hash, error) {
	type label struct {
		hash
		text string
	}
	within := func(fields ...string) bool { return slices.Contains(fields, field) }
	each := spread(a, within, func(e *event.Event) (l label) {
		if l.text = filter.Text(e, field); l.text != "" {
			l.hash = hashOf([]byte(l.text))
		}
		return l
	})
	list := make([]hash, len(a.kinds))
	for i, l := range each {
		if l.hash == 0 || !wanted(i) {
			continue
		}
		list[i] = l.hash
		if err := known.add(l.hash, l.text); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// at is the number of the first act that is not before a time, microseconds since 1970.
func (a *acts) at(time int64) int {
	return sort.Search(len(a.list), func(i int) bool { return a.time(&a.list[i]) >= time })
}

// same appends the numbers of a user's acts of a time, microseconds since 1970.
func (a *acts) same(list []int, time int64, who hash) []int {
	for i := a.at(time); i < len(a.list) && a.time(&a.list[i]) == time; i++ {
		if a.list[i].actor == who {
			list = append(list, i)
		}
	}
	return list
}

// time of an act, microseconds since 1970.
func (a *acts) time(one *act) int64 { return a.start + int64(one.after) }

func (a *acts) bytes() uint32 {
	n := 300 + 24*cap(a.list) + knownBytes(len(a.list)) + 8*cap(a.kinds)
	for _, w := range a.whats {
		n += 48 + len(w.typ) + len(w.path)
	}
	for _, o := range a.origins {
		n += 80 + len(o.source) + len(o.country) + len(o.device) + len(o.browser) + len(o.os)
	}
	return uint32(n)
}

// found is an act that is being read.
type found struct {
	moment
	act
}

const foundColumns = "time, id, " + actor + ", session_id, type, path, source, country, device, browser, os"

// finder fills rows from foundColumns. It numbers what those rows have in common.
func finder(c *common) func(*found, [][]byte) error {
	whats, origins, kinds := map[[2]hash]uint32{}, map[hash]uint32{}, map[kind]uint32{}
	return func(f *found, raw [][]byte) error {
		f.time, f.actor, f.session = micros(raw[0]), hashOf(raw[2]), 0
		copy(f.id[:], raw[1])
		if raw[3] != nil {
			f.session = hashOf(raw[3])
		}
		var k kind
		var ok bool
		of := [2]hash{hashOf(raw[4]), hashOf(raw[5])}
		if k.what, ok = whats[of]; !ok {
			k.what = uint32(len(c.whats))
			whats[of] = k.what
			c.whats = append(c.whats, what{string(raw[4]), string(raw[5]), of[0], of[1]})
		}
		from := hashAll(raw[6:])
		if k.origin, ok = origins[from]; !ok {
			k.origin = uint32(len(c.origins))
			origins[from] = k.origin
			c.origins = append(c.origins, origin{string(raw[6]), string(raw[7]), string(raw[8]), string(raw[9]), string(raw[10])})
		}
		if f.kind, ok = kinds[k]; !ok {
			f.kind = uint32(len(c.kinds))
			kinds[k] = f.kind
			c.kinds = append(c.kinds, k)
		}
		return nil
	}
}

// gather makes the acts of pieces that follow each other from all that was found in them.
func gather(pieces []piece, rows []found, all common) []*acts {
	list := make([]*acts, len(pieces))
	ends, lengths := make([]int64, len(pieces)), make([]int, len(pieces))
	for i := range pieces {
		ends[i] = pieces[i].end().UnixMicro()
	}
	at := func(f *found) int { return sort.Search(len(ends), func(i int) bool { return f.time < ends[i] }) }
	for i := range rows {
		lengths[at(&rows[i])]++
	}
	for i, p := range pieces {
		list[i] = &acts{piece: p, start: p.Start.UnixMicro(), list: make([]act, 0, lengths[i])}
	}
	whats, origins, kinds := make(numbers, len(all.whats)), make(numbers, len(all.origins)), make(numbers, len(all.kinds))
	for f := range inOrder(rows) {
		a := list[at(f)]
		k := kinds.of(f.kind, a, func() uint32 {
			k := all.kinds[f.kind]
			a.kinds = append(a.kinds, kind{
				whats.of(k.what, a, func() uint32 { a.whats = append(a.whats, all.whats[k.what]); return uint32(len(a.whats) - 1) }),
				origins.of(k.origin, a, func() uint32 { a.origins = append(a.origins, all.origins[k.origin]); return uint32(len(a.origins) - 1) }),
			})
			return uint32(len(a.kinds) - 1)
		})
		a.list = append(a.list, act{uint32(f.time - a.start), k, f.actor, f.session})
	}
	for _, a := range list {
		a.whats, a.origins, a.kinds = slices.Clip(a.whats), slices.Clip(a.origins), slices.Clip(a.kinds)
	}
	return list
}

// numbers has the number in a piece of each that is in several. Pieces come one after the
// other, so only that in the last is kept.
type numbers []struct {
	in *acts
	is uint32
}

// of is the number in a piece; of one that is new there, what add tells.
func (n numbers) of(number uint32, a *acts, add func() uint32) uint32 {
	if n := &n[number]; n.in != a {
		n.in, n.is = a, add()
	}
	return n[number].is
}
