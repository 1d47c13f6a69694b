// Package event is the contract that everything in Weir shares: what an event
// is, when it is valid, and how it travels on the stream. It imports nothing of
// Weir, so a program in any other place can use it to produce or read events.
package event

import (
	"strconv"
	"strings"
	"time"
)

// Limits that Validate and Parse enforce. All are bytes of UTF-8 unless said.
const (
	MaxSize           = 64 << 10 // one event as JSON, on the wire
	MaxPropertiesSize = 16 << 10
	MaxDepth          = 64 // nesting of properties
	MaxIDLength       = 256
	MaxActorLength    = 256  // user_id, anonymous_id, session_id
	MaxURLLength      = 2048 // path, referrer
	MaxAgentLength    = 64   // device, browser, os

	MaxFaults = 20 // that are told of one event

	// MaxFuture is how far ahead of the receiver's clock an event may claim to
	// have happened. One event with a wild time would make a chunk of its own.
	MaxFuture = 24 * time.Hour
)

// MinTime is the earliest time an event may have happened.
var MinTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Micro is the unit of Event.Value: one millionth. Values are fixed-point so
// that sums are exact in any order, which is what lets a rollup equal its rows.
const Micro = 1_000_000

// MaxValue is the largest magnitude of a value, exclusive.
const MaxValue = 1_000_000_000_000

// Event is one thing that happened. Its strings may share memory with the
// payload it was parsed from.
type Event struct {
	ID        UUID
	MessageID string // the id as the client gave it, when that is not a UUID
	Type      string
	Time      time.Time // UTC, whole microseconds: the resolution it is stored with
	Source    string

	UserID      string
	AnonymousID string
	SessionID   string

	Path     string
	Referrer string
	Country  string
	Device   string
	Browser  string
	OS       string

	Value    int64 // in millionths, see Micro; only if HasValue
	HasValue bool
	Currency string

	Properties string // a JSON object as text, or ""
}

// Actor identifies who did it: the user when known, else the anonymous visitor.
func (e *Event) Actor() string {
	if e.UserID != "" {
		return e.UserID
	}
	return e.AnonymousID
}

// Invalid lists everything that is wrong with one event.
type Invalid []FieldError

// FieldError says which field breaks which rule.
type FieldError struct {
	Field string `json:"field" doc:"The event's field at fault; empty when the event as a whole is" example:"type"`
	Rule  string `json:"rule" doc:"The rule that it breaks" example:"must match ^[a-z][a-z0-9_.]{0,63}$"`
}

func (f FieldError) String() string {
	if f.Field == "" {
		return f.Rule
	}
	return f.Field + " " + f.Rule
}

// Error joins the faults in one line.
func (v Invalid) Error() string {
	var s strings.Builder
	for i, f := range v {
		if i > 0 {
			s.WriteString("; ")
		}
		s.WriteString(f.String())
	}
	return s.String()
}

// Brief returns the first MaxFaults, and of more than that how many more: one event can
// have thousands, a field that is none each.
func (v Invalid) Brief() Invalid {
	if len(v) <= MaxFaults {
		return v
	}
	return append(v[:MaxFaults:MaxFaults], FieldError{"…", "and " + strconv.Itoa(len(v)-MaxFaults) + " more faults"})
}

func (v *Invalid) add(field, rule string) { *v = append(*v, FieldError{field, rule}) }

// Has reports whether the field is at fault. Has("") tells an event that could not be
// read at all from one that breaks rules.
func (v Invalid) Has(field string) bool {
	for _, f := range v {
		if f.Field == field {
			return true
		}
	}
	return false
}
