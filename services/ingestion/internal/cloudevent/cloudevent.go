// Package cloudevent takes CloudEvents 1.0 over HTTP, in every mode of the protocol
// binding: structured, binary and batched.
package cloudevent

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/ingestion/internal/collector"
	"weir/services/ingestion/internal/quota"
	"weir/services/shared/event"
)

const (
	typeOne  = "application/cloudevents+json"
	typeMany = "application/cloudevents-batch+json"
)

type output struct {
	Status int
	quota.Headers
	Body collector.Answer
}

// Register adds the operation to the API.
func Register(api huma.API, c *collector.Collector) {
	const path = "/v1/cloudevents"
	c.Open(path)
	entrance := collector.Entrance{MaxBody: collector.MaxBody, Decode: decode}
	huma.Register(api, huma.Operation{
		OperationID: "post-cloudevents", Method: http.MethodPost, Path: path, Tags: []string{"CloudEvents"},
		Summary: "Send CloudEvents",
		Description: "Takes CloudEvents 1.0: one in structured mode (`" + typeOne + "`) or binary mode (`ce-` headers), or a batch (`" + typeMany + "`). " +
			"Answers as `/v1/events` does.\n\n" +
			"How one becomes an event: `source` and `id` together are the idempotency key, so `time` is required; `type` is kept in `properties.cloudevent.type`, and in lower case with underscores it is the event's type. " +
			"Where `data` is an object, its members `user_id`, `anonymous_id`, `session_id`, `path`, `referrer`, `country`, `device`, `browser`, `os`, `value` and `currency` are the event's, " +
			"when they fit, its `properties` and all others the event's properties. Other data is in `properties.data`, as base64 in `properties.data_base64` where it is not text. " +
			"The extensions `userid` (or `authid`), `anonymousid` and `sessionid` say who did it when the data does not. Every other attribute is in `properties.cloudevent`.",
		DefaultStatus: http.StatusAccepted,
		Errors:        collector.Errors,
	}, func(ctx context.Context, r *collector.Request) (*output, error) {
		out, err := c.Collect(ctx, r, entrance)
		if err != nil {
			return nil, err
		}
		if out.Accepted == 0 && out.Rejected > 0 {
			return nil, collector.Refused(out.Results)
		}
		return &output{http.StatusAccepted, out.Quota, out.Answer}, nil
	})
	collector.Document(api, path, body())
}

// decode finds the events of a request in whichever mode it is sent.
func decode(r *collector.Request, body string) (collector.Events, error) {
	var events collector.Events
	contentType := r.Header().Get("Content-Type")
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil && contentType != "":
		return events, huma.Error415UnsupportedMediaType("The Content-Type is not a media type.")
	case media == typeOne:
		events.Add(structured(body))
	case media == typeMany:
		return batched(body)
	case strings.HasPrefix(media, "application/cloudevents"):
		return events, huma.Error415UnsupportedMediaType("CloudEvents are taken as " + typeOne + " or " + typeMany + ", or in binary mode.")
	case r.Header().Get("ce-specversion") == "":
		return events, huma.Error415UnsupportedMediaType("This is no CloudEvent: the Content-Type must be " + typeOne + " or " + typeMany + ", or, in binary mode, the data's, with ce-specversion and the other attributes as headers.")
	default:
		events.Add(binary(r.Header(), contentType, body))
	}
	return events, nil
}

// batched decodes a batch, an element at a time: to take 10 MiB of `1,1,...` apart at once
// would take many times their memory.
func batched(body string) (collector.Events, error) {
	var events collector.Events
	array := json.NewDecoder(strings.NewReader(body))
	if start, _ := array.Token(); start != json.Delim('[') || !json.Valid([]byte(body)) {
		return collector.Events{}, huma.Error400BadRequest("The body must be a JSON array of CloudEvents.")
	}
	for array.More() {
		if len(events.Payloads) == collector.MaxEvents {
			return collector.Events{}, collector.TooMany()
		}
		var one json.RawMessage
		if err := array.Decode(&one); err != nil {
			return collector.Events{}, err // it is valid
		}
		events.Add(structured(string(one)))
	}
	return events, nil
}

// binary makes an event of one whose attributes are headers and whose data is the body.
func binary(header http.Header, contentType, body string) (string, event.Invalid) {
	attributes := map[string]string{"datacontenttype": contentType}
	for name, values := range header {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok {
			continue
		}
		value, err := url.PathUnescape(values[0]) // what is not printable ASCII is escaped
		switch {
		case err != nil || !utf8.ValidString(value):
			return "", event.Invalid{{Field: attribute, Rule: "must be UTF-8, with % and two hexadecimal digits for what is not printable ASCII"}}
		case len(values) > 1:
			return "", event.Invalid{{Field: attribute, Rule: "is given twice"}}
		}
		attributes[attribute] = value
	}
	return translate(attributes, dataOf(contentType, body))
}

func body() *huma.RequestBody {
	one := map[string]any{
		"specversion": "1.0", "id": "1001", "source": "/shop/orders", "type": "com.example.order.completed", "time": "2026-01-02T15:04:05Z",
		"datacontenttype": "application/json", "data": map[string]any{"user_id": "u-17", "value": 49.95, "currency": "EUR", "order": "A-1"},
	}
	object := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "As the CloudEvents spec has it", Required: []string{"specversion", "id", "source", "type", "time"}, Properties: map[string]*huma.Schema{}}
	for _, name := range object.Required {
		object.Properties[name] = &huma.Schema{Type: huma.TypeString}
	}
	object.Properties["time"].Format = "date-time"
	return &huma.RequestBody{
		Description: "At most 10 MiB, compressed or not; an event at most 64 KiB.",
		Content: map[string]*huma.MediaType{
			typeOne:  {Schema: object, Example: one},
			typeMany: {Schema: &huma.Schema{Type: huma.TypeArray, Items: object, MaxItems: ptr(collector.MaxEvents)}, Example: []any{one}},
			"*/*":    {Schema: &huma.Schema{Description: "Binary mode: the data, of any type"}, Example: one["data"]},
		},
	}
}

func ptr(n int) *int { return &n }
