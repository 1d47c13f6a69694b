// Package segment takes what Segment's SDKs send: its HTTP tracking API, at the same
// paths, with the same limits and answers, so that an SDK needs another endpoint and
// nothing else.
package segment

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/ingestion/internal/collector"
	"weir/services/ingestion/internal/object"
	"weir/services/ingestion/internal/quota"
)

// Segment's limits.
const (
	maxMessage  = 32 << 10  // bytes of one message
	maxBatch    = 500 << 10 // bytes of a batch
	maxMessages = 2500      // of a batch
)

// maxCommon bounds what a batch's context, which is worked into each of its messages,
// amounts to; Segment's own limits let it be a gigabyte.
const maxCommon = 10 << 20

// Success is what Segment answers, and what became of messages that are no good, which
// Segment does not say.
type Success struct {
	Success bool               `json:"success" doc:"Whether every message was taken. One that was not will not be by sending it again, so the status is 200 all the same: SDKs repeat a request that fails"`
	Results []collector.Result `json:"results,omitempty" nullable:"false" doc:"The messages that were rejected, and why; absent when there are none"`
}

type output struct {
	quota.Headers
	Body Success
}

// Register adds Segment's calls to the API: the documented ones, and the short names
// that its SDK for browsers uses.
func Register(api huma.API, c *collector.Collector) {
	for _, call := range []struct{ name, short, takes string }{
		{"batch", "b", "Messages of any kind together, in `batch`. A `context` beside it is part of every message's."},
		{"track", "t", "Something a user did: `event` names it."},
		{"page", "p", "A page that was seen, stored with type `page_view`."},
		{"screen", "s", "A screen of an app that was seen, stored with type `screen_view`; its name is the path."},
		{"identify", "i", "Who a user is: the `traits` become the event's properties."},
		{"group", "g", "Which group a user belongs to: the `traits` become the event's properties."},
		{"alias", "a", "That two ids are one user's. Weir stores it and does not act on it."},
	} {
		entrance := collector.Entrance{MaxBody: maxMessage, KeyInBody: true, Decode: one(call.name)}
		if call.name == "batch" {
			entrance.MaxBody, entrance.Decode = maxBatch, many
		}
		for _, path := range []string{"/v1/" + call.name, "/v1/" + call.short} {
			c.Open(path)
			huma.Register(api, huma.Operation{
				OperationID: "segment-" + path[len("/v1/"):], Method: http.MethodPost, Path: path, Tags: []string{"Segment"},
				Summary: "Segment's " + call.name + " call", Description: call.takes + "\n\n" + mapping,
				Hidden: path == "/v1/"+call.short,
				Errors: errorStatuses,
			}, func(ctx context.Context, r *collector.Request) (*output, error) {
				return collect(ctx, c, r, entrance)
			})
			if path == "/v1/"+call.name {
				collector.Document(api, path, body(call.name))
			}
		}
	}
}

// errorStatuses are without 413, for which Segment has 400.
var errorStatuses = slices.DeleteFunc(slices.Clone(collector.Errors), func(status int) bool { return status == http.StatusRequestEntityTooLarge })

// mapping documents translate.
const mapping = "How a message becomes an event: `messageId` is the idempotency key, `timestamp` (or `originalTimestamp`) the time, as given: correcting it by `sentAt`, as Segment does, would make another event of every retry. " +
	"The name of a tracked event becomes its type (`Order Completed` is `order_completed`) and is kept in `properties.segment.event`. " +
	"`properties.revenue` or `value`, and `currency`, are the value; `context.page` gives path and referrer, `context.location.country` (two letters) the country, `context.userAgent` device, browser and os. " +
	"The rest of the context is in `properties.segment.context`, without `ip`, and only where properties have room for it."

func collect(ctx context.Context, c *collector.Collector, r *collector.Request, entrance collector.Entrance) (*output, error) {
	out, err := c.Collect(ctx, r, entrance)
	var problem huma.StatusError
	if errors.As(err, &problem) && problem.GetStatus() == http.StatusRequestEntityTooLarge {
		return nil, huma.Error400BadRequest(problem.Error()) // as Segment answers it
	}
	if err != nil {
		return nil, err
	}
	answer := Success{Success: out.Rejected == 0}
	for _, result := range out.Results {
		if len(result.Errors) > 0 {
			answer.Results = append(answer.Results, result)
		}
	}
	return &output{out.Quota, answer}, nil
}

// one decodes the body of a call that is a message itself.
func one(kind string) func(*collector.Request, string) (collector.Events, error) {
	return func(r *collector.Request, body string) (collector.Events, error) {
		message, err := parse(r, body)
		if err != nil {
			return collector.Events{}, err
		}
		events := collector.Events{WriteKey: message.Maybe("writeKey")}
		events.Add(translate(kind, body, nil))
		return events, nil
	}
}

// many decodes the body of a batch.
func many(r *collector.Request, body string) (collector.Events, error) {
	batch, err := parse(r, body)
	if err != nil {
		return collector.Events{}, err
	}
	var messages []json.RawMessage
	if json.Unmarshal(batch["batch"], &messages) != nil || len(messages) == 0 {
		return collector.Events{}, huma.Error400BadRequest("The body must have an array of messages, at least one, in `batch`.")
	}
	if len(messages) > maxMessages {
		return collector.Events{}, huma.Error400BadRequest("The batch has more than " + strconv.Itoa(maxMessages) + " messages: send fewer at once.")
	}
	if len(batch["context"])*len(messages) > maxCommon {
		return collector.Events{}, huma.Error400BadRequest("The batch's context is too large for so many messages, as it is part of each: its bytes, times the messages, must be at most " + strconv.Itoa(maxCommon) + ". Send fewer at once.")
	}
	return collector.Events{WriteKey: batch.Maybe("writeKey"), Fill: func(events *collector.Events) {
		common := batch.Object("context")
		for _, message := range messages {
			events.Add(translate("", string(message), common))
		}
	}}, nil
}

// parse reads a body, which must be a JSON object. SDKs for browsers call it plain text,
// because they may send that without asking first.
func parse(r *collector.Request, body string) (object.Fields, error) {
	switch media, _, _ := mime.ParseMediaType(r.Header().Get("Content-Type")); media {
	case "application/json", "text/plain", "":
	default:
		return nil, huma.Error415UnsupportedMediaType("The Content-Type must be application/json.")
	}
	fields, err := object.Parse(body)
	if err != nil {
		return nil, huma.Error400BadRequest("The body " + err.Error() + ".")
	}
	return fields, nil
}

func text(example map[string]any) string {
	data, err := json.Marshal(example)
	if err != nil {
		panic(err) // a constant
	}
	return string(data)
}

func body(call string) *huma.RequestBody {
	limit := "At most 32 KiB."
	example := map[string]any{
		"messageId": "m-1", "timestamp": "2026-01-02T15:04:05.123Z", "userId": "u-17", "event": "Order Completed",
		"properties": map[string]any{"revenue": 49.95, "currency": "EUR"},
		"context":    map[string]any{"page": map[string]any{"path": "/checkout"}},
	}
	if call == "batch" {
		example["type"] = "track"
		limit, example = "At most 500 KiB and 2,500 messages, each at most 32 KiB; the bytes of the `context` beside them, times the messages, at most 10 MiB.", map[string]any{"batch": []any{example}}
	}
	return &huma.RequestBody{Description: limit, Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "As the Segment spec has it"}, Example: example},
		"text/plain":       {Schema: &huma.Schema{Type: huma.TypeString, Description: "The same JSON, as browsers send it without asking first"}, Example: text(example)},
	}}
}
