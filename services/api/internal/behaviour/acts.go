package behaviour

import (
	"slices"
	"sort"

	"weir/services/api/internal/filter"
	"weir/services/shared/event"
)

// acts are the events of a piece as the memory keeps them: 24 bytes each.
type acts struct {
	piece
	start int64 // of the piece, microseconds since 1970
	kinds []kind
	list  []act // in the order of time, then id
}

// act is an event: enough to follow users and sessions through types and paths.
type act struct {
	after          uint32 // the start of the piece, microseconds: an hour has fewer than 2^32
	kind           uint32 // which of the piece's kinds
	actor, session hash   // session is 0 without one
}

// kind is a type with a path, of which a site has far fewer than events.
type kind struct {
	typ, path          string // path is "" without one
	typeHash, pathHash hash
}

// remembered are the fields that kinds have. A filter within them is asked once a kind.
var remembered = []string{"type", "path"}

// taken tells of each kind whether a filter within what is remembered takes it.
func (a *acts) taken(by filter.Expr) []bool {
	list := make([]bool, len(a.kinds))
	var e event.Event // one for all: of a busy day there are a hundred thousand kinds
	for i := range a.kinds {
		e.Type, e.Path = a.kinds[i].typ, a.kinds[i].path
		list[i] = by.Match(&e)
	}
	return list
}

// masks has a bit of each kind for each filter that takes it.
func (a *acts) masks(filters ...filter.Expr) []uint16 {
	list := make([]uint16, len(a.kinds))
	for bit, f := range filters {
		for i, taken := range a.taken(f) {
			if taken {
				list[i] |= 1 << bit
			}
		}
	}
	return list
}

// of is the kind's field, type or path, by its hash and text; 0 when it has none.
func (k *kind) of(field string) (hash, string) {
	switch {
	case field == "type":
		return k.typeHash, k.typ
	case field == "path" && k.path != "":
		return k.pathHash, k.path
	default:
		return 0, ""
	}
}

// between is the part of the list from one time to another, microseconds since 1970.
func (a *acts) between(from, to int64) []act {
	at := func(time int64) int {
		return sort.Search(len(a.list), func(i int) bool { return a.time(&a.list[i]) >= time })
	}
	return a.list[at(from):at(to)]
}

// time of an act, microseconds since 1970.
func (a *acts) time(one *act) int64 { return a.start + int64(one.after) }

func (a *acts) bytes() uint32 {
	n := 200 + 24*cap(a.list)
	for _, k := range a.kinds {
		n += 48 + len(k.typ) + len(k.path)
	}
	return uint32(n)
}

// found is an act that is being read.
type found struct {
	moment
	act
}

const foundColumns = "time, id, " + actor + ", session_id, type, path"

// finder fills rows from foundColumns. It numbers the kinds, which those rows share.
func finder(kinds *[]kind) func(*found, [][]byte) error {
	numbers := map[[2]hash]uint32{}
	return func(f *found, raw [][]byte) error {
		f.time, f.actor, f.session = micros(raw[0]), hashOf(raw[2]), 0
		copy(f.id[:], raw[1])
		if raw[3] != nil {
			f.session = hashOf(raw[3])
		}
		of := [2]hash{hashOf(raw[4]), hashOf(raw[5])}
		number, ok := numbers[of]
		if !ok {
			number = uint32(len(*kinds))
			numbers[of] = number
			*kinds = append(*kinds, kind{string(raw[4]), string(raw[5]), of[0], of[1]})
		}
		f.kind = number
		return nil
	}
}

// gather makes the acts of pieces that follow each other from all that was found in them.
func gather(pieces []piece, rows []found, kinds []kind) []*acts {
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
	// Pieces come one after the other, so of each kind only its number in the last is kept.
	type numbered struct {
		in     *acts
		number uint32
	}
	last := make([]numbered, len(kinds))
	for f := range inOrder(rows) {
		a, k := list[at(f)], &last[f.kind]
		if k.in != a {
			*k = numbered{a, uint32(len(a.kinds))}
			a.kinds = append(a.kinds, kinds[f.kind])
		}
		a.list = append(a.list, act{uint32(f.time - a.start), k.number, f.actor, f.session})
	}
	for _, a := range list {
		a.kinds = slices.Clip(a.kinds)
	}
	return list
}
