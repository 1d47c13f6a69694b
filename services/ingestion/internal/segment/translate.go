package segment

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"weir/services/ingestion/internal/agent"
	"weir/services/ingestion/internal/dimension"
	"weir/services/ingestion/internal/name"
	"weir/services/ingestion/internal/object"
	"weir/services/shared/event"
)

// translate makes an event, as JSON, of a message. kind is what the path says it is;
// without one the message says. common is the batch's context. What the event then
// breaks, its own rules say.
func translate(kind, text string, common object.Fields) (payload string, faults event.Invalid) {
	switch {
	case len(text) > maxMessage:
		return "", event.Invalid{{Field: "", Rule: "must be at most " + strconv.Itoa(maxMessage) + " bytes"}}
	case !utf8.ValidString(text):
		return "", event.Invalid{{Field: "", Rule: "is not valid JSON: invalid UTF-8"}}
	}
	message, err := object.Parse(text)
	if err != nil {
		return "", event.Invalid{{Field: "", Rule: err.Error()}}
	}
	given := func(name string) string {
		value, ok := message.Text(name)
		if !ok {
			faults = append(faults, event.FieldError{Field: name, Rule: "must be a string"})
		}
		return value
	}
	if kind == "" {
		kind = given("type")
	}
	context := merged(common, message.Object("context"))
	properties := message.Object("properties")
	if kind == "identify" || kind == "group" {
		properties = message.Object("traits")
	}
	d := dimensionsOf(kind, message, properties, context)

	var w object.Writer
	w.Text("id", given("messageId"))
	w.Text("type", typeOf(kind, given("event"), &faults))
	w.Text("time", timeOf(given("timestamp"), given("originalTimestamp"), &faults))
	w.Text("user_id", given("userId"))
	w.Text("anonymous_id", given("anonymousId"))
	w.Text("session_id", context.Maybe("sessionId"))
	w.Text("path", d.path)
	w.Text("referrer", d.referrer)
	w.Text("country", d.country)
	w.Text("device", d.Device)
	w.Text("browser", d.Browser)
	w.Text("os", d.OS)
	w.Raw("value", dimension.Value(properties, "revenue", "value"))
	w.Text("currency", dimension.Currency(properties.Maybe("currency")))
	w.Raw("properties", propertiesOf(message, properties, context))
	return w.String(), faults
}

func merged(common, own object.Fields) object.Fields {
	all := object.Fields{}
	all.Add(common)
	all.Add(own)
	return all
}

func typeOf(kind, called string, faults *event.Invalid) string {
	switch kind {
	case "track":
		if called == "" && !faults.Has("event") {
			*faults = append(*faults, event.FieldError{Field: "event", Rule: "is required: it names what happened"})
		}
		return name.Type(called)
	case "page":
		return "page_view"
	case "screen":
		return "screen_view"
	case "identify", "group", "alias":
		return kind
	}
	if !faults.Has("type") {
		*faults = append(*faults, event.FieldError{Field: "type", Rule: "must be track, page, screen, identify, group or alias"})
	}
	return ""
}

// layouts are the forms of ISO 8601 that SDKs write. Without a zone it is UTC.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999-0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02"}

// timeOf is the time that the message says, unchanged. Segment corrects it by sentAt,
// for devices whose clocks are wrong; sentAt differs in a retry, and with it the event's
// time would, which is half of its identity.
func timeOf(timestamp, original string, faults *event.Invalid) string {
	if timestamp == "" {
		timestamp = original
	}
	if timestamp == "" {
		return "" // the time of arrival, if the message has no id
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, timestamp); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	}
	*faults = append(*faults, event.FieldError{Field: "timestamp", Rule: "must be an ISO 8601 time, such as 2026-01-02T15:04:05.123Z"})
	return ""
}

type dimensions struct {
	path, referrer, country string
	agent.Agent
}

// dimensionsOf finds what the message says about where it happened. What no dimension
// can hold stays in the context.
func dimensionsOf(kind string, message, properties, context object.Fields) dimensions {
	page := context.Object("page")
	if kind == "page" { // its properties are the page's own
		page = merged(page, properties)
	}
	d := dimensions{
		path:     first(page.Maybe("path"), dimension.Path(page.Maybe("url"))),
		referrer: first(page.Maybe("referrer"), context.Object("referrer").Maybe("url")),
		country:  dimension.Country(context.Object("location").Maybe("country")),
		Agent:    agent.Parse(context.Maybe("userAgent")),
	}
	if kind == "screen" {
		d.path = first(message.Maybe("name"), d.path)
	}
	d.path, d.referrer = dimension.URL(d.path), dimension.URL(d.referrer)
	// Apps have no User-Agent, and say it themselves.
	d.OS = first(d.OS, dimension.Agent(context.Object("os").Maybe("name")))
	if device := context.Object("device").Maybe("type"); d.Device == "" {
		switch strings.ToLower(device) {
		case "ios", "android":
			d.Device = "mobile"
		default:
			d.Device = dimension.Agent(device)
		}
	}
	return d
}

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// propertiesOf are the message's own, and beside them, in segment, what else it said.
func propertiesOf(message, properties, context object.Fields) string {
	var more object.Writer
	more.Text("event", message.Maybe("event"))
	more.Text("name", message.Maybe("name"))
	more.Text("category", message.Maybe("category"))
	more.Text("group_id", message.Maybe("groupId"))
	more.Text("previous_id", message.Maybe("previousId"))
	bare := more.String()
	if len(context) > 0 {
		delete(context, "ip") // an address is a person's; no dimension needs it
		more.Raw("context", context.JSON())
	}
	all := merged(properties, nil)
	beside := all.Free("segment")
	if all[beside] = json.RawMessage(more.String()); len(all.JSON()) > event.MaxPropertiesSize {
		all[beside] = json.RawMessage(bare)
	}
	if len(all[beside]) == len("{}") {
		delete(all, beside)
	}
	return all.JSON()
}
