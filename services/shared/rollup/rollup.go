// Package rollup is what consumer and api share about aggregates: the dimensions,
// and the deltas that a batch adds. The consumer computes a batch's deltas once,
// stores them in the batch's transaction, and publishes the same ones for the
// live feed; so history and live agree by construction.
package rollup

import (
	"encoding/json"
	"fmt"
	"strconv"

	"weir/services/shared/event"
)

// Dimension is what events of a type are counted by. The numbers are stored.
type Dimension int16

// All is the type alone; the others cross it with a field of the event.
const (
	All Dimension = iota
	Path
	Referrer
	Country
	Device
	Browser
	OS
	Source

	// Dimensions is how many there are.
	Dimensions = int(Source) + 1
)

var names = [Dimensions]string{"all", "path", "referrer", "country", "device", "browser", "os", "source"}

// String returns the dimension's name, which is the event field's name.
func (d Dimension) String() string { return names[d] }

// ParseDimension reads a name that String gives; it reports false for others.
func ParseDimension(name string) (Dimension, bool) {
	for i, n := range names {
		if n == name {
			return Dimension(i), true
		}
	}
	return 0, false
}

// Of returns the event's value of the dimension; "" is not counted.
func (d Dimension) Of(e *event.Event) string {
	switch d {
	case Path:
		return e.Path
	case Referrer:
		return e.Referrer
	case Country:
		return e.Country
	case Device:
		return e.Device
	case Browser:
		return e.Browser
	case OS:
		return e.OS
	case Source:
		return e.Source
	default:
		return ""
	}
}

// Key names a line of the rollups: what is counted.
type Key struct {
	Dimension Dimension
	Type      string
	Value     string // "" for All
}

// Delta is what a batch adds to one key in one minute.
type Delta struct {
	Minute int32 // minutes since 1970, UTC
	Key    Key
	Events int64
	Value  int64 // sum, in millionths
}

// Batch is the message that tells the live feed of one committed batch.
type Batch struct {
	// XID is the transaction that committed the batch. A reader that took a
	// snapshot of the database knows by it whether the snapshot has the batch.
	XID    uint64
	Deltas []Delta
}

// Channel is the Redis Pub/Sub channel of a stream's batches.
func Channel(stream string) string { return stream + ":live" }

// AppendJSON appends the message in its wire form, a compact one: at full speed a
// batch has thousands of deltas.
//
//	{"xid":17,"deltas":[[29539440,0,"page_view","",12,0], ...]}
//
// Each delta is minute, dimension, type, value, events, sum in millionths.
func (b *Batch) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"xid":`...)
	dst = strconv.AppendUint(dst, b.XID, 10)
	dst = append(dst, `,"deltas":[`...)
	for i := range b.Deltas {
		d := &b.Deltas[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		dst = strconv.AppendInt(dst, int64(d.Minute), 10)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, int64(d.Key.Dimension), 10)
		dst = append(dst, ',')
		dst = event.AppendString(dst, d.Key.Type)
		dst = append(dst, ',')
		dst = event.AppendString(dst, d.Key.Value)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, d.Events, 10)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, d.Value, 10)
		dst = append(dst, ']')
	}
	return append(dst, "]}"...)
}

// UnmarshalJSON reads the wire form.
func (b *Batch) UnmarshalJSON(data []byte) error {
	var wire struct {
		XID    uint64      `json:"xid"`
		Deltas []wireDelta `json:"deltas"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return fmt.Errorf("read live batch: %w", err)
	}
	b.XID, b.Deltas = wire.XID, make([]Delta, len(wire.Deltas))
	for i, d := range wire.Deltas {
		b.Deltas[i] = Delta(d)
	}
	return nil
}

type wireDelta Delta

func (d *wireDelta) UnmarshalJSON(data []byte) error {
	fields := []any{&d.Minute, &d.Key.Dimension, &d.Key.Type, &d.Key.Value, &d.Events, &d.Value}
	n := len(fields)
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	if len(fields) != n {
		return fmt.Errorf("a delta has %d members, not %d", n, len(fields))
	}
	if d.Key.Dimension < 0 || int(d.Key.Dimension) >= Dimensions {
		return fmt.Errorf("unknown dimension %d", d.Key.Dimension)
	}
	return nil
}
