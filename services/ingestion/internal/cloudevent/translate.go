package cloudevent

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"weir/services/ingestion/internal/dimension"
	"weir/services/ingestion/internal/name"
	"weir/services/ingestion/internal/object"
	"weir/services/shared/event"
)

// data is what a CloudEvent is about: JSON, or bytes that are none.
type data struct {
	json  string
	bytes string
}

// dataOf reads data of a media type. JSON that is broken is kept as text.
func dataOf(contentType, content string) data {
	if content == "" {
		return data{}
	}
	media, _, _ := mime.ParseMediaType(contentType)
	asJSON := contentType == "" || media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
	if asJSON && utf8.ValidString(content) && json.Valid([]byte(content)) {
		return data{json: content}
	}
	return data{bytes: content}
}

// structured makes an event of a CloudEvent in the JSON format.
func structured(text string) (string, event.Invalid) {
	if !utf8.ValidString(text) {
		return "", event.Invalid{{Field: "", Rule: "is not valid JSON: invalid UTF-8"}}
	}
	members, err := object.Parse(text)
	if err != nil {
		return "", event.Invalid{{Field: "", Rule: err.Error()}}
	}
	attributes := map[string]string{}
	var faults event.Invalid
	for _, attribute := range slices.Sorted(members.Names()) {
		if attribute == "data" || attribute == "data_base64" {
			continue
		}
		value, ok := members.Text(attribute)
		if raw := string(members[attribute]); raw == "true" || raw == "false" {
			value, ok = raw, true
		}
		if !ok {
			faults = append(faults, event.FieldError{Field: strings.ToValidUTF8(attribute[:min(len(attribute), 64)], ""), Rule: "must be a string: attributes are no objects or arrays"})
		}
		attributes[attribute] = value
	}
	if faults != nil {
		return "", faults.Brief()
	}
	d := data{json: string(members["data"])}
	if members.Has("data_base64") {
		content, err := base64.StdEncoding.DecodeString(members.Maybe("data_base64"))
		if err != nil || members.Has("data") {
			return "", event.Invalid{{Field: "data_base64", Rule: "must be base64, and the only data"}}
		}
		d = dataOf(attributes["datacontenttype"], string(content))
	}
	return translate(attributes, d)
}

// translate makes an event, as JSON, of a CloudEvent's attributes and data. What the
// event then breaks, its own rules say.
func translate(attributes map[string]string, d data) (string, event.Invalid) {
	var faults event.Invalid
	for _, required := range []string{"id", "source", "type"} {
		if attributes[required] == "" {
			faults = append(faults, event.FieldError{Field: required, Rule: "is required"})
		}
	}
	if attributes["specversion"] != "1.0" {
		faults = append(faults, event.FieldError{Field: "specversion", Rule: "must be 1.0"})
	}
	if faults != nil {
		return "", faults
	}

	var fields object.Fields // of the data, less what the event takes
	if strings.HasPrefix(strings.TrimSpace(d.json), "{") {
		fields, _ = object.Parse(d.json)
	}
	said := func(name string, fits func(string) string) string {
		value := fits(fields.Maybe(name))
		if value != "" {
			delete(fields, name)
		}
		return value
	}
	as := func(s string) string { return s }

	var w object.Writer
	// One source's ids are its own: the key is both, of a length that a key may have.
	key := sha256.Sum256([]byte(attributes["source"] + "\x00" + attributes["id"]))
	w.Text("id", hex.EncodeToString(key[:]))
	w.Text("type", name.Type(attributes["type"]))
	w.Text("time", attributes["time"])
	w.Text("user_id", first(said("user_id", as), attributes["userid"], attributes["authid"]))
	w.Text("anonymous_id", first(said("anonymous_id", as), attributes["anonymousid"]))
	w.Text("session_id", first(said("session_id", as), attributes["sessionid"]))
	w.Text("path", said("path", dimension.URL))
	w.Text("referrer", said("referrer", dimension.URL))
	w.Text("country", said("country", dimension.Country))
	w.Text("device", said("device", dimension.Agent))
	w.Text("browser", said("browser", dimension.Agent))
	w.Text("os", said("os", dimension.Agent))
	if value := dimension.Value(fields, "value"); value != "" {
		w.Raw("value", value)
		delete(fields, "value")
	}
	w.Text("currency", said("currency", dimension.Currency))
	w.Raw("properties", propertiesOf(attributes, fields, d))
	return w.String(), nil
}

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// propertiesOf are what the event has no field for: the rest of the data, and in
// cloudevent the attributes.
func propertiesOf(attributes map[string]string, fields object.Fields, d data) string {
	all := object.Fields{}
	switch {
	case fields != nil:
		if inner := fields.Object("properties"); inner != nil {
			delete(fields, "properties")
			all.Add(inner)
		}
		all.Add(fields)
	case d.json != "" && d.json != "null":
		all["data"] = json.RawMessage(d.json)
	case d.bytes != "" && utf8.ValidString(d.bytes):
		all["data"] = event.AppendString(nil, d.bytes)
	case d.bytes != "":
		all["data_base64"] = event.AppendString(nil, base64.StdEncoding.EncodeToString([]byte(d.bytes)))
	}
	rest := object.Fields{}
	for attribute, value := range attributes {
		switch attribute {
		case "time", "specversion", "userid", "anonymousid", "sessionid", "authid":
		default:
			if value != "" {
				rest[attribute] = event.AppendString(nil, value)
			}
		}
	}
	all[all.Free("cloudevent")] = json.RawMessage(rest.JSON())
	return all.JSON()
}
