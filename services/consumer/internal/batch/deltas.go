package batch

import (
	"encoding/binary"
	"math"

	"weir/services/shared/event"
	"weir/services/shared/rollup"
)

// maxKeys bounds the memory of one writer's counters: about 200 bytes each. Past it
// all are forgotten, and the busy ones come back with the next batch.
const maxKeys = 50_000

// Deltas counts a batch's events by rollup key and minute.
//
// A key's counter lives on from batch to batch, with the number that the database
// knows it by, so that an event costs one look-up per dimension and a batch resolves
// only keys it has never seen. A counter holds one minute at a time: events come
// nearly in order, and the delta log may hold several lines for one key and minute.
type Deltas struct {
	lines    []line
	counters map[key]*counter
	touched  []*counter // those that count something in this batch
	types    map[string]uint32
	names    []string
}

type key struct {
	dimension rollup.Dimension
	typ       uint32 // 16 bits wrap: a batch may hold more types
	value     string
}

type counter struct {
	key    key
	id     int32 // rollup_keys.id; 0 while unknown
	minute int32
	events int64
	value  int64
}

type line struct {
	counter *counter
	minute  int32
	events  int64
	value   int64
}

func newDeltas() *Deltas {
	return &Deltas{counters: map[key]*counter{}, types: map[string]uint32{}}
}

// Reset forgets the counts, and the keys too when they have become too many.
func (d *Deltas) Reset() {
	d.clear()
	if len(d.counters) > maxKeys || len(d.names) > maxKeys {
		*d = *newDeltas()
	}
}

// clear forgets the counts only.
func (d *Deltas) clear() {
	for _, c := range d.touched {
		c.events, c.value = 0, 0
	}
	clear(d.lines)
	d.lines, d.touched = d.lines[:0], d.touched[:0]
}

// Add counts one event.
func (d *Deltas) Add(e *event.Event) {
	minute := int32(e.Time.Unix() / 60)
	typ, ok := d.types[e.Type]
	if !ok {
		name := clone(e.Type)
		typ = uint32(len(d.names))
		d.types[name] = typ
		d.names = append(d.names, name)
	}
	d.count(key{rollup.All, typ, ""}, minute, e.Value)
	for i := rollup.Path; int(i) < rollup.Dimensions; i++ {
		if value := i.Of(e); value != "" {
			d.count(key{i, typ, value}, minute, e.Value)
		}
	}
}

func (d *Deltas) count(k key, minute int32, value int64) {
	c := d.counters[k]
	if c == nil {
		k.value = clone(k.value) // the payload must not live on in the key
		c = &counter{key: k}
		d.counters[k] = c
	}
	switch {
	case c.events == 0:
		c.minute = minute
		d.touched = append(d.touched, c)
	case c.minute != minute || overflows(c.value, value):
		d.lines = append(d.lines, line{c, c.minute, c.events, c.value})
		c.minute, c.events, c.value = minute, 0, 0
	}
	c.events++
	c.value += value
}

func overflows(a, b int64) bool { return b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b }

func clone(s string) string { return string([]byte(s)) }

// Seal ends the counting: what the counters hold becomes lines.
func (d *Deltas) Seal() {
	for _, c := range d.touched {
		if c.events > 0 {
			d.lines = append(d.lines, line{c, c.minute, c.events, c.value})
			c.events, c.value = 0, 0
		}
	}
	d.touched = d.touched[:0]
}

// Unresolved lists the sealed keys whose number is not known.
func (d *Deltas) Unresolved() (keys []rollup.Key) {
	asked := map[*counter]bool{}
	for i := range d.lines {
		if c := d.lines[i].counter; c.id == 0 && !asked[c] {
			asked[c] = true
			keys = append(keys, d.name(c.key))
		}
	}
	return keys
}

// Resolve tells the number of a key.
func (d *Deltas) Resolve(k rollup.Key, id int32) {
	if typ, ok := d.types[k.Type]; ok {
		if c := d.counters[key{k.Dimension, typ, k.Value}]; c != nil {
			c.id = id
		}
	}
}

func (d *Deltas) name(k key) rollup.Key {
	return rollup.Key{Dimension: k.dimension, Type: d.names[k.typ], Value: k.value}
}

// Len is the number of sealed lines.
func (d *Deltas) Len() int { return len(d.lines) }

// List returns the sealed lines in words, for the live feed.
func (d *Deltas) List() []rollup.Delta {
	list := make([]rollup.Delta, len(d.lines))
	for i, l := range d.lines {
		list[i] = rollup.Delta{Minute: l.minute, Key: d.name(l.counter.key), Events: l.events, Value: l.value}
	}
	return list
}

// DeltaColumns are the columns of rollup_deltas that AppendCopy fills, in order.
const DeltaColumns = "minute, key_id, events, dimension, value"

// AppendCopy appends the sealed lines in COPY's binary format.
func (d *Deltas) AppendCopy(dst []byte) []byte {
	dst = append(dst, copyHeader...)
	for i := range d.lines {
		l := &d.lines[i]
		dst = append(dst, 0, 5, 0, 0, 0, 4)
		dst = binary.BigEndian.AppendUint32(dst, uint32(l.minute))
		dst = append(dst, 0, 0, 0, 4)
		dst = binary.BigEndian.AppendUint32(dst, uint32(l.counter.id))
		dst = append(dst, 0, 0, 0, 4)
		dst = binary.BigEndian.AppendUint32(dst, uint32(l.events))
		dst = append(dst, 0, 0, 0, 2)
		dst = binary.BigEndian.AppendUint16(dst, uint16(l.counter.key.dimension))
		dst = append(dst, 0, 0, 0, 8)
		dst = binary.BigEndian.AppendUint64(dst, uint64(l.value))
	}
	return append(dst, copyTrailer...)
}
