package collector

import (
	"time"

	"weir/services/ingestion/internal/agent"
	"weir/services/ingestion/internal/publish"
	"weir/services/shared/event"
)

// Events are the events of a request.
type Events struct {
	Payloads []string // as package event parses them

	// Faults is nil, or has for each payload what kept its decoder from making one.
	Faults []event.Invalid

	// WriteKey is the one that the body brings, at an entrance where it may.
	WriteKey string

	// Fill adds the events, where making them is much work: it is called once the sender
	// is known. Nil where Decode has made them.
	Fill func(*Events)

	// Agent is the sender's, where that is a browser; events that tell nothing of
	// theirs take it.
	Agent agent.Agent
}

// Add appends an event, or what kept it from being one.
func (e *Events) Add(payload string, fault event.Invalid) {
	e.Payloads, e.Faults = append(e.Payloads, payload), append(e.Faults, fault)
}

func (e *Events) fault(i int) event.Invalid {
	if e.Faults == nil {
		return nil
	}
	return e.Faults[i]
}

// The statuses of a Result.
const (
	accepted    = "accepted"
	rejected    = "rejected"
	unconfirmed = "unconfirmed"
)

// batch is a request's events on their way to the stream.
type batch struct {
	results  []Result
	messages []publish.Message
	accepted int
}

// take parses, completes and validates the events. source is the write key's, or "".
func take(events *Events, source string, partitions int, now time.Time) *batch {
	n := len(events.Payloads)
	b := &batch{results: make([]Result, n), messages: make([]publish.Message, 0, n)}
	var e event.Event
	var wire []byte
	for i, payload := range events.Payloads {
		result := &b.results[i]
		result.Index = i
		invalid := events.fault(i)
		var given event.UUID
		if invalid == nil {
			invalid = e.Parse(payload)
			given = e.ID
			if !invalid.Has("") { // else its fields say nothing
				complete(&e, events, source, now, &invalid)
				invalid = e.Validate(now, invalid)
			}
		}
		if invalid != nil {
			result.Status, result.Errors = rejected, invalid
			if given != (event.UUID{}) {
				result.ID = given.String()
			}
			continue
		}
		result.Status, result.ID = accepted, e.ID.String()
		b.accepted++
		wire = e.AppendJSON(wire[:0])
		b.messages = append(b.messages, publish.Message{Partition: event.Partition(e.Actor(), partitions), Payload: string(wire)})
	}
	return b
}

// complete fills in what a client may leave out. Over HTTP this service is the
// producer, so it is here, and never later, that an event without a time gets one.
func complete(e *event.Event, events *Events, source string, now time.Time, invalid *event.Invalid) {
	if source != "" {
		e.Source = source
	} else if e.Source == "" {
		e.Source = DefaultSource
	}
	if e.Device == "" && e.Browser == "" && e.OS == "" {
		e.Device, e.Browser, e.OS = events.Agent.Device, events.Agent.Browser, events.Agent.OS
	}
	given := e.MessageID != "" || e.ID != (event.UUID{})
	if e.Time.IsZero() && !invalid.Has("time") {
		if given {
			*invalid = append(*invalid, event.FieldError{Field: "time", Rule: "is required with an id: without it a retry would be another event"})
		} else {
			e.Time = now.UTC().Truncate(time.Microsecond)
		}
	}
	switch {
	case e.ID != (event.UUID{}) || invalid.Has("id"):
	case e.Time.IsZero(): // rejected for its time, and not for its id as well
		e.ID = event.NewID(now)
	case e.MessageID != "":
		e.ID = event.DeriveID(e.Time, e.Source, e.MessageID)
	default:
		e.ID = event.NewID(e.Time)
	}
}

// DefaultSource is the source of events that name none and came without a key.
const DefaultSource = "default"
