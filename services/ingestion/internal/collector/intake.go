package collector

import (
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/ingestion/internal/publish"
	"weir/services/shared/event"
)

// Limits of one request.
const (
	MaxBody   = 10 << 20 // bytes
	MaxEvents = 20_000
)

const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

// split finds the events in a body. An error is the whole request's fault.
func split(contentType, body string) ([]string, error) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = contentType
	}
	var events []string
	switch media {
	case typeJSON:
		trimmed := strings.TrimLeft(body, " \t\r\n")
		switch {
		case trimmed == "":
			return nil, huma.Error400BadRequest("The body is empty: send one event, or an array of events.")
		case trimmed[0] == '[':
			var invalid event.Invalid
			if events, invalid = event.Elements(body); invalid != nil {
				return nil, huma.Error400BadRequest("The body " + invalid[0].Rule + ".")
			}
		default:
			events = []string{body}
		}
	case typeNDJSON, "application/ndjson", "application/jsonl":
		for line := range strings.SplitSeq(body, "\n") {
			if strings.TrimSpace(line) != "" {
				events = append(events, line)
			}
		}
	default:
		return nil, huma.Error415UnsupportedMediaType("The Content-Type must be " + typeJSON + " (one event or an array) or " + typeNDJSON + " (one event a line).")
	}
	if len(events) == 0 {
		return nil, huma.Error422UnprocessableEntity("The batch is empty: send at least one event.")
	}
	if len(events) > MaxEvents {
		return nil, huma.NewError(http.StatusRequestEntityTooLarge, "The batch has too many events: send at most 20000 at once.")
	}
	return events, nil
}

// batch is a request's events on their way to the stream.
type batch struct {
	results  []Result
	messages []publish.Message
	accepted int
}

// take parses, completes and validates the events. source is the write key's, or "".
func take(payloads []string, source string, partitions int, now time.Time) *batch {
	b := &batch{results: make([]Result, len(payloads)), messages: make([]publish.Message, 0, len(payloads))}
	var e event.Event
	var wire []byte
	for i, payload := range payloads {
		result := &b.results[i]
		result.Index = i
		invalid := e.Parse(payload)
		given := e.ID
		complete(&e, source, now, &invalid)
		invalid = e.Validate(now, invalid)
		if invalid != nil {
			result.Status, result.Errors = "rejected", invalid
			if given != (event.UUID{}) {
				result.ID = given.String()
			}
			continue
		}
		result.Status, result.ID = "accepted", e.ID.String()
		b.accepted++
		wire = e.AppendJSON(wire[:0])
		b.messages = append(b.messages, publish.Message{Partition: event.Partition(e.Actor(), partitions), Payload: string(wire)})
	}
	return b
}

// complete fills in what a client may leave out. Over HTTP this service is the
// producer, so it is here, and never later, that an event without a time gets one.
func complete(e *event.Event, source string, now time.Time, invalid *event.Invalid) {
	if source != "" {
		e.Source = source
	} else if e.Source == "" {
		e.Source = DefaultSource
	}
	given := e.MessageID != "" || e.ID != (event.UUID{})
	if e.Time.IsZero() && !mentions(*invalid, "time") {
		if given {
			*invalid = append(*invalid, event.FieldError{Field: "time", Rule: "is required with an id: without it a retry would be another event"})
		} else {
			e.Time = now.UTC().Truncate(time.Microsecond)
		}
	}
	switch {
	case e.ID != (event.UUID{}) || mentions(*invalid, "id"):
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

func mentions(invalid event.Invalid, field string) bool {
	for _, f := range invalid {
		if f.Field == field || f.Field == "" {
			return true
		}
	}
	return false
}
