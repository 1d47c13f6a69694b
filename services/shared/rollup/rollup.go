// Package rollup is what consumer and api share about aggregates: the dimensions,
// and the deltas that a batch adds. The consumer computes a batch's deltas once,
// stores them in the batch's transaction, and publishes the same ones for the
// live feed; so history and live agree by construction.
package rollup

import "weir/services/shared/event"

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

	// Folds tells of each bucket whether what was read of it is still right: it is while
	// this is the same, and while the table rebuilds is. Under key 0 of the counts it grows
	// with each fold into the bucket. In the tables of users it is a row that each fold
	// writes anew, as a transaction of another number; its key is the index in UserLogs of
	// what was folded.
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
