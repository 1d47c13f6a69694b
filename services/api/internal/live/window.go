package live

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"weir/services/api/internal/decimal"
	"weir/services/shared/rollup"
)

// windowStart is the first minute (since 1970) of the window at t. The window has no
// end: an event of a producer whose clock is ahead counts in the minute it names.
func windowStart(t time.Time) int32 { return minuteOf(t) - rollup.LiveMinutes + 1 }

func minuteOf(t time.Time) int32 { return int32(t.Unix() / 60) }

func timeOf(minute int32) time.Time { return time.Unix(int64(minute)*60, 0).UTC() }

// cell is what is counted apart.
type cell struct {
	minute int32
	kind   string // the events' type
}

type count struct {
	events int64
	value  decimal.Micros
}

func (c count) plus(o count) count { return count{c.events + o.events, c.value.Add(o.value)} }

func (c count) equal(o count) bool { return c.events == o.events && c.value.Equal(o.value) }

// window holds the counts of a stretch of minutes.
type window map[cell]count

func (w window) add(c cell, n count) { w[c] = w[c].plus(n) }

func (w window) addAll(o window) {
	for c, n := range o {
		w.add(c, n)
	}
}

// trim forgets the minutes before from.
func (w window) trim(from int32) {
	for c := range w {
		if c.minute < from {
			delete(w, c)
		}
	}
}

func (w window) total() (sum count) {
	for _, n := range w {
		sum = sum.plus(n)
	}
	return sum
}

func (w window) equal(o window) bool {
	if len(w) != len(o) {
		return false
	}
	for c, n := range w {
		if other, found := o[c]; !found || !n.equal(other) {
			return false
		}
	}
	return true
}

// sorted lists the counts by minute and type.
func (w window) sorted() []minute {
	list := make([]minute, 0, len(w))
	for c, n := range w {
		list = append(list, minute{timeOf(c.minute), c.kind, n.events, n.value})
	}
	slices.SortFunc(list, func(a, b minute) int {
		return cmp.Or(a.Minute.Compare(b.Minute), cmp.Compare(a.Type, b.Type))
	})
	return list
}

// batch is what the live feed keeps of a consumer's batch.
type batch struct {
	xid    uint64
	counts window
	values []valueDelta
	sample []json.RawMessage
}

// reduce keeps the counts that are inside the window.
func reduce(b *rollup.Batch, from int32) batch {
	out := batch{xid: b.XID, counts: window{}, sample: b.Sample}
	for i := range b.Deltas {
		d := &b.Deltas[i]
		switch {
		case d.Minute < from:
		case d.Key.Dimension == rollup.All:
			out.counts.add(cell{d.Minute, d.Key.Type}, count{d.Events, decimal.FromInt64(d.Value)})
		default:
			out.values = append(out.values, valueDelta{d.Minute, valueKey{d.Key.Dimension, d.Key.Value}, d.Events})
		}
	}
	return out
}
