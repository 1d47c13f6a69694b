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

	// Sessions is under which the sets of sessions are kept beside those of users, by type
	// alone and so under All's keys. Its number leaves room for dimensions to come.
	Sessions Dimension = 100

	// Folds grows with each fold into a bucket, under key 0 of the counts: what was
	// read of the bucket is still right while it is the same, and while the table
	// rebuilds is.
	Folds Dimension = 101
)

var names = [...]string{"all", "path", "referrer", "country", "device", "browser", "os", "source"}

// Dimensions is how many there are.
const Dimensions = len(names)

// Fields lists the dimensions but All by their names.
func Fields() []string { return names[1:] }

// String returns the dimension's name, which is the event field's name.
func (d Dimension) String() string {
	switch d {
	case Sessions:
		return "sessions"
	case Folds:
		return "folds"
	}
	return names[d]
}

// ParseDimension reads a name that String gives; it reports false for others.
func ParseDimension(name string) (Dimension, bool) {
	for i, n := range names {
		if n == name {
			return Dimension(i), true
		}
	}
	return 0, false
}

// Column returns the column of events that a field is grouped by, "type" or a dimension's
// name. SQL takes its text from here, not from a client: of any other field it is "all",
// which is no column.
func Column(field string) string {
	if field == "type" {
		return field
	}
	d, _ := ParseDimension(field)
	return d.String()
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

// UserLogs are the two tables that sets of users wait in until they are folded: those under
// type alone, which most questions are about, and those by the other dimensions, which are
// most of them.
var UserLogs = [2]string{"rollup_user_deltas_all", "rollup_user_deltas_by"}

// UserLog is the index in UserLogs of the table for a dimension's sets.
func (d Dimension) UserLog() int {
	if d == All || d == Sessions {
		return 0
	}
	return 1
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
	// Sample is some of the batch's events, as JSON, of which the live feed shows
	// some. It is small whatever the batch is, and may be empty.
	Sample []json.RawMessage
}

// Channel is the Redis Pub/Sub channel of a stream's batches.
func Channel(stream string) string { return stream + ":live" }

// Flushed is the Redis key beside a channel under which consumers leave when a batch was
// last committed, in Unix milliseconds: who was not listening then finds it there.
func Flushed(channel string) string { return channel + ":flushed" }

// AppendJSON appends the message in its wire form, a compact one: at full speed a
// batch has thousands of deltas.
//
//	{"xid":17,"deltas":[[29539440,0,"page_view","",12,0], ...],"sample":[{"id":...}, ...]}
//
// Each delta is minute, dimension, type, value, events, sum in millionths. Without a
// sample there is no such member.
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
	dst = append(dst, ']')
	for i, e := range b.Sample {
		dst = append(dst, [2]string{`,"sample":[`, ","}[min(i, 1)]...)
		dst = append(dst, e...)
	}
	if len(b.Sample) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// UnmarshalJSON reads the wire form. Deltas of dimensions that this build does not know are
// left out: consumers are replaced before the api, and theirs may count by one more.
func (b *Batch) UnmarshalJSON(data []byte) error {
	var wire struct {
		XID    uint64            `json:"xid"`
		Deltas []wireDelta       `json:"deltas"`
		Sample []json.RawMessage `json:"sample"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return fmt.Errorf("read live batch: %w", err)
	}
	b.XID, b.Deltas, b.Sample = wire.XID, make([]Delta, 0, len(wire.Deltas)), wire.Sample
	for _, d := range wire.Deltas {
		if int(d.Key.Dimension) < Dimensions {
			b.Deltas = append(b.Deltas, Delta(d))
		}
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
	if d.Key.Dimension < 0 {
		return fmt.Errorf("there is no dimension %d", d.Key.Dimension)
	}
	return nil
}
