package collector

import (
	"context"
	"mime"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/ingestion/internal/agent"
	"weir/services/ingestion/internal/quota"
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
	typeText   = "text/plain" // of navigator.sendBeacon, which can send nothing else unasked
)

// split finds the events in a body.
func split(r *Request, body string) (Events, error) {
	contentType := r.Header().Get("Content-Type")
	media := contentType
	if media != typeJSON { // which it nearly always is
		if parsed, _, err := mime.ParseMediaType(contentType); err == nil {
			media = parsed
		}
	}
	var events Events
	switch media {
	case typeText: // what a page may send without asking first: it is a browser
		events.Agent = agent.Parse(r.Header().Get("User-Agent"))
		fallthrough
	case typeJSON:
		trimmed := strings.TrimLeft(body, " \t\r\n")
		switch {
		case trimmed == "":
			return Events{}, huma.Error400BadRequest("The body is empty: send one event, or an array of events.")
		case trimmed[0] == '[':
			var invalid event.Invalid
			if events.Payloads, invalid = event.Elements(body, MaxEvents); invalid != nil {
				return Events{}, huma.Error400BadRequest("The body " + invalid[0].Rule + ".")
			}
		default:
			events.Payloads = []string{body}
		}
	case typeNDJSON, "application/ndjson", "application/jsonl":
		for line := range strings.SplitSeq(body, "\n") {
			if strings.TrimSpace(line) == "" {
				continue
			}
			if events.Payloads = append(events.Payloads, line); len(events.Payloads) > MaxEvents {
				break // the rest changes nothing
			}
		}
	default:
		return Events{}, huma.Error415UnsupportedMediaType("The Content-Type must be " + typeJSON + " (one event or an array) or " + typeNDJSON + " (one event a line); " + typeText + " is taken for JSON.")
	}
	if len(events.Payloads) == 0 {
		return Events{}, huma.Error422UnprocessableEntity("The batch is empty: send at least one event.")
	}
	if len(events.Payloads) > MaxEvents {
		return Events{}, TooMany()
	}
	return events, nil
}

type postOutput struct {
	Status int
	quota.Headers
	Body Answer
}

// registerEvents adds the collector's own entrance, for events as they are.
func (c *Collector) registerEvents(api huma.API) {
	const path = "/v1/events"
	c.Open(path)
	entrance := Entrance{MaxBody: MaxBody, Decode: split}
	huma.Register(api, huma.Operation{
		OperationID: "post-events", Method: http.MethodPost, Path: path, Tags: []string{"Events"},
		Summary: "Send events",
		Description: "Takes one event, an array of events, or NDJSON (one event a line). Answers 202 once the accepted events are in the stream, with a result for each event; " +
			"bad events do not hold up good ones. When every event is bad the answer is 422, with all their errors.\n\n" +
			"`id` makes sending again safe: the same id and time is stored once, however often it arrives. Any string will do; one that is not a UUID is turned into one, always the same. " +
			"Without an id the event gets a new one, and the time of arrival unless it has a time.\n\n" +
			"Browsers: `navigator.sendBeacon(\"/v1/events?write_key=...\", JSON.stringify(event))` sends plain text, which is taken for JSON, and events without device, browser and os get those of the User-Agent.",
		DefaultStatus: http.StatusAccepted,
		Errors:        Errors,
	}, func(ctx context.Context, r *Request) (*postOutput, error) {
		out, err := c.Collect(ctx, r, entrance)
		if err != nil {
			return nil, err
		}
		if out.Accepted == 0 {
			return nil, Refused(out.Results)
		}
		return &postOutput{http.StatusAccepted, out.Quota, out.Answer}, nil
	})
	Document(api, path, eventsBody(api))
}
