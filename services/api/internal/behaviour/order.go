package behaviour

import (
	"bytes"
	"cmp"
	"iter"
	"math/bits"
	"slices"
)

// rowBits are as many as tell maxSliceRows apart.
const rowBits = 22

const _ = uint(1<<rowBits - maxSliceRows) // does not compile when they are too few

// moment is what events are in the order of.
type moment struct {
	time int64 // microseconds since 1970
	id   [16]byte
}

func (m *moment) when() *moment { return m }

// inOrder goes through the events of a slice by time, those of the same time by id. What is
// sorted is not the events but a number of each, its time in front of its place: a third
// of the time.
func inOrder[T any, P interface {
	*T
	when() *moment
}](rows []T) iter.Seq[*T] {
	when := func(i uint64) *moment { return P(&rows[i]).when() }
	first, last := int64(0), int64(0)
	if len(rows) > 0 {
		first, last = when(0).time, when(0).time
	}
	for i := range rows {
		t := when(uint64(i)).time
		first, last = min(first, t), max(last, t)
	}
	coarse := max(0, bits.Len64(uint64(last-first))-(64-rowBits)) // over 50 days, a number has no room for every microsecond
	order := make([]uint64, len(rows))
	for i := range rows {
		order[i] = uint64(when(uint64(i)).time-first)>>coarse<<rowBits | uint64(i)
	}
	slices.Sort(order)
	const place = 1<<rowBits - 1
	return func(yield func(*T) bool) {
		for rest := order; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n]>>rowBits == rest[0]>>rowBits {
				n++
			}
			if n > 1 {
				slices.SortFunc(rest[:n], func(a, b uint64) int {
					x, y := when(a&place), when(b&place)
					return cmp.Or(cmp.Compare(x.time, y.time), bytes.Compare(x.id[:], y.id[:]))
				})
			}
			for _, number := range rest[:n] {
				if !yield(&rows[number&place]) {
					return
				}
			}
			rest = rest[n:]
		}
	}
}
