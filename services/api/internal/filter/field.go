package filter

import (
	"slices"
	"time"

	"weir/services/shared/event"
)

// kind is what a field holds, and so which operators it takes.
type kind int

const (
	text kind = iota
	number
	instant
	property
)

// field is a field of the event; for a property, path leads to it.
type field struct {
	name  string // also the column's
	kind  kind
	never bool // never missing: NOT NULL in the table
	of    func(*event.Event) *string
	path  []string
}

var fields = []*field{
	{name: "type", never: true, of: func(e *event.Event) *string { return &e.Type }},
	{name: "source", never: true, of: func(e *event.Event) *string { return &e.Source }},
	{name: "user_id", of: func(e *event.Event) *string { return &e.UserID }},
	{name: "anonymous_id", of: func(e *event.Event) *string { return &e.AnonymousID }},
	{name: "session_id", of: func(e *event.Event) *string { return &e.SessionID }},
	{name: "path", of: func(e *event.Event) *string { return &e.Path }},
	{name: "referrer", of: func(e *event.Event) *string { return &e.Referrer }},
	{name: "country", of: func(e *event.Event) *string { return &e.Country }},
	{name: "device", of: func(e *event.Event) *string { return &e.Device }},
	{name: "browser", of: func(e *event.Event) *string { return &e.Browser }},
	{name: "os", of: func(e *event.Event) *string { return &e.OS }},
	{name: "currency", of: func(e *event.Event) *string { return &e.Currency }},
	{name: "value", kind: number},
	{name: "time", kind: instant, never: true},
}

func fieldNamed(name string) *field {
	i := slices.IndexFunc(fields, func(f *field) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return fields[i]
}

// valueKind is a kind of literal.
type valueKind int

const (
	stringValue valueKind = iota
	numberValue
	boolValue
)

// value is a literal.
type value struct {
	kind   valueKind
	text   string    // of a string, unquoted
	json   string    // as JSON
	number decimal   // of a number
	time   time.Time // of a string compared with a time
	truth  bool
}
