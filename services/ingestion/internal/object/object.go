// Package object reads and writes JSON objects whose members are not known beforehand.
package object

import (
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"strings"

	"weir/services/shared/event"
)

// Fields are the members of an object, by name; of a repeated one the last.
type Fields map[string]json.RawMessage

// Parse reads an object. The error, of one line, is fit for clients.
func Parse(text string) (Fields, error) {
	var f Fields
	var syntax *json.SyntaxError
	switch err := json.Unmarshal([]byte(text), &f); {
	case errors.As(err, &syntax):
		return nil, errors.New("is not valid JSON: " + syntax.Error())
	case err != nil || f == nil:
		return nil, errors.New("must be a JSON object")
	}
	return f, nil
}

// Has reports whether there is a member that is not null.
func (f Fields) Has(name string) bool { return len(f[name]) > 0 && f[name][0] != 'n' }

// Text returns a member that is a string, or a number as it is written; "" and false
// for one of another kind.
func (f Fields) Text(name string) (text string, ok bool) {
	if !f.Has(name) {
		return "", true
	}
	raw := f[name]
	switch c := raw[0]; {
	case c == '"':
		ok = json.Unmarshal(raw, &text) == nil
		return text, ok
	case c == '-' || c >= '0' && c <= '9':
		return string(raw), true
	}
	return "", false
}

// Maybe returns a member as Text does, and "" when it cannot.
func (f Fields) Maybe(name string) string {
	text, _ := f.Text(name)
	return text
}

// Object returns a member that is an object, and no fields for any other.
func (f Fields) Object(name string) Fields {
	var inner Fields
	if raw := f[name]; len(raw) == 0 || json.Unmarshal(raw, &inner) != nil {
		return nil
	}
	return inner
}

// Names returns the members' names, in no order.
func (f Fields) Names() iter.Seq[string] { return maps.Keys(f) }

// Add adds the members of another object, which win over those of the same name.
func (f Fields) Add(other Fields) { maps.Copy(f, other) }

// Free returns the name, with underscores behind it while there is a member of that name.
func (f Fields) Free(name string) string {
	for f.Has(name) {
		name += "_"
	}
	return name
}

// JSON returns the object's text: its members in order of their names.
func (f Fields) JSON() string {
	text, err := json.Marshal(f)
	if err != nil {
		return "{}" // its members were read from JSON
	}
	return string(text)
}

// Writer writes an object member by member.
type Writer struct{ b strings.Builder }

// Text adds a string, unless it is empty.
func (w *Writer) Text(name, value string) {
	if value != "" {
		w.Raw(name, string(event.AppendString(nil, value)))
	}
}

// Raw adds a value that is JSON already, unless it is "".
func (w *Writer) Raw(name, value string) {
	if value == "" {
		return
	}
	if w.b.Len() == 0 {
		w.b.WriteByte('{')
	} else {
		w.b.WriteByte(',')
	}
	w.b.Write(event.AppendString(nil, name))
	w.b.WriteByte(':')
	w.b.WriteString(value)
}

// String returns the object's text.
func (w *Writer) String() string {
	if w.b.Len() == 0 {
		return "{}"
	}
	return w.b.String() + "}"
}
