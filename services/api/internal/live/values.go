package live

import (
	"cmp"
	"slices"
	"time"

	"weir/services/shared/rollup"
)

const (
	// topSize is how many values of a dimension clients are told.
	topSize = 10
	// topInterval is the shortest time between two tops.
	topInterval = time.Second
	// maxValues bounds what is kept: values, each minute by itself. At some 150 bytes
	// each that is 30 MB.
	maxValues = 200_000
)

// valueKey is a value of a dimension.
type valueKey struct {
	dimension rollup.Dimension
	name      string
}

// values counts the window's events by the values of the dimensions.
type values struct {
	minutes map[int32]map[valueKey]int64 // events, to take a minute out when it has passed
	totals  map[valueKey]int64
	size    int
	partial bool // there was no room for some
	changed dimensions
}

func newValues() *values {
	return &values{minutes: map[int32]map[valueKey]int64{}, totals: map[valueKey]int64{}}
}

// valueDelta is what a batch adds to a value in a minute.
type valueDelta struct {
	minute int32
	key    valueKey
	events int64
}

// addAll reports whether anything changed.
func (v *values) addAll(deltas []valueDelta) bool {
	for i := range deltas {
		v.add(&deltas[i])
	}
	return v.changed != 0
}

func (v *values) add(d *valueDelta) {
	minute := v.minutes[d.minute]
	if minute == nil {
		minute = map[valueKey]int64{}
		v.minutes[d.minute] = minute
	}
	n, known := minute[d.key]
	if !known {
		if v.size == maxValues {
			v.partial = true
			return
		}
		v.size++
	}
	minute[d.key] = n + d.events
	v.totals[d.key] += d.events
	v.changed |= 1 << d.key.dimension
}

// trim forgets the minutes before from.
func (v *values) trim(from int32) {
	for minute, counts := range v.minutes {
		if minute >= from {
			continue
		}
		for k, n := range counts {
			if v.totals[k] -= n; v.totals[k] == 0 {
				delete(v.totals, k)
			}
			v.changed |= 1 << k.dimension
		}
		v.size -= len(counts)
		delete(v.minutes, minute)
	}
}

// top lists the most frequent values of the dimensions in the set.
func (v *values) top(of dimensions) (lists [rollup.Dimensions][]share) {
	for k, n := range v.totals {
		if !of.has(k.dimension) {
			continue
		}
		list := lists[k.dimension]
		s := share{k.name, n}
		if len(list) == topSize && byEvents(s, list[topSize-1]) > 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(list, s, byEvents)
		list = slices.Insert(list, at, s)
		lists[k.dimension] = list[:min(len(list), topSize)]
	}
	return lists
}

func byEvents(a, b share) int {
	return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Name, b.Name))
}

// tops are a lane's messages for the dimensions in the set, by dimension.
func (h *Hub) tops(l *lane, lists [rollup.Dimensions][]share, of dimensions) map[rollup.Dimension]*packet {
	now, packets := time.Now(), map[rollup.Dimension]*packet{}
	for d := rollup.Path; int(d) < rollup.Dimensions; d++ {
		if !of.has(d) {
			continue
		}
		m := l.place("top", now)
		m.From, m.Dimension, m.Top, m.Partial = timeOf(windowStart(now)), d.String(), lists[d], h.values.partial
		if m.Top == nil {
			m.Top = []share{}
		}
		packets[d] = m.pack()
	}
	return packets
}

// tellTops sends the tops that changed, as of a seq that everybody who wants them has.
func (h *Hub) tellTops() {
	h.topping.Stop()
	if h.values == nil || !h.live {
		return
	}
	h.values.trim(windowStart(time.Now()))
	changed := h.values.changed & h.wanted()
	lists := h.values.top(changed)
	h.values.changed, h.topped = 0, time.Now()
	for _, l := range h.lanes {
		wanted := changed & l.wanted()
		if wanted == 0 {
			continue
		}
		h.update(l, h.topped)
		for d, p := range h.tops(l, lists, wanted) {
			h.broadcast(l, p, func(c *client) bool { return c.wants.dimensions.has(d) })
		}
	}
}

// wanted are the dimensions that some client wants.
func (h *Hub) wanted() (all dimensions) {
	for _, l := range h.lanes {
		all |= l.wanted()
	}
	return all
}
