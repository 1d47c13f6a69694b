package filter

import (
	"encoding/json"
	"strings"
	"time"

	"weir/services/shared/event"
)

// op is a condition's operator. "is" is a list of one, and what has a "not" in it is
// inside a node not.
type op string

const (
	in       op = "in"
	contains op = "contains"
	exists   op = "exists"
	lt       op = "<"
	le       op = "<="
	gt       op = ">"
	ge       op = ">="
)

func (o op) holds(comparison int) bool {
	switch o {
	case lt:
		return comparison < 0
	case le:
		return comparison <= 0
	case gt:
		return comparison > 0
	case ge:
		return comparison >= 0
	default:
		return comparison == 0
	}
}

// condition is about one field. Its values are of the field's kind; only "in" has
// several.
type condition struct {
	field  *field
	op     op
	values []value
}

func (c condition) match(e *event.Event) bool {
	switch c.field.kind {
	case text:
		return c.matchText(*c.field.of(e))
	case number:
		if !e.HasValue {
			return false
		}
		n := parseDecimal(string(event.AppendMicros(nil, e.Value)))
		return c.any(func(v value) bool { return c.op.holds(n.compare(v.number)) })
	case instant:
		return c.any(func(v value) bool { return c.op.holds(e.Time.Compare(v.time)) })
	default:
		return c.matchProperty(find(e.Properties, c.field.path))
	}
}

// any reports whether one of the values suits; what has no values asks for existence.
func (c condition) any(suits func(value) bool) bool {
	for _, v := range c.values {
		if suits(v) {
			return true
		}
	}
	return c.op == exists
}

func (c condition) matchText(s string) bool {
	if s == "" {
		return false
	}
	return c.any(func(v value) bool {
		if c.op == contains {
			return strings.Contains(s, v.text)
		}
		return s == v.text
	})
}

func (c condition) matchProperty(p any) bool {
	switch p := p.(type) {
	case nil:
		return false
	case string:
		return c.any(func(v value) bool {
			if c.op == contains {
				return strings.Contains(p, v.text)
			}
			return c.op == in && v.kind == stringValue && p == v.text
		})
	case json.Number:
		n := parseDecimal(string(p))
		return c.any(func(v value) bool { return v.kind == numberValue && c.op.holds(n.compare(v.number)) })
	case bool:
		return c.any(func(v value) bool { return c.op == in && v.kind == boolValue && p == v.truth })
	default:
		return c.op == exists
	}
}

// find follows a path of names into an object. It returns nil for what is not there,
// and for null.
func find(properties string, path []string) any {
	if properties == "" {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(properties))
	d.UseNumber()
	var at any
	if d.Decode(&at) != nil {
		return nil
	}
	for _, name := range path {
		object, _ := at.(map[string]any)
		at = object[name]
	}
	return at
}

func (c condition) sql(arg func(any) string) string {
	if c.field.kind == property {
		return "coalesce(" + c.propertySQL(arg) + ", false)"
	}
	column := c.field.name
	if c.op == exists {
		return column + " IS NOT NULL"
	}
	test := c.columnSQL(column, arg)
	if c.field.never {
		return test
	}
	return "(" + column + " IS NOT NULL AND " + test + ")"
}

func (c condition) columnSQL(column string, arg func(any) string) string {
	switch {
	case c.op == contains:
		return "strpos(" + column + ", " + arg(c.values[0].text) + "::text) > 0"
	case c.op != in && c.field.kind == number:
		return column + " " + string(c.op) + " " + arg(c.values[0].json) + "::text::numeric"
	case c.op != in:
		return column + " " + string(c.op) + " " + arg(c.values[0].time) + "::timestamptz"
	case c.field.kind == text && len(c.values) == 1:
		return column + " = " + arg(c.values[0].text) + "::text"
	case c.field.kind == text:
		return column + " = ANY (" + arg(list(c.values, func(v value) string { return v.text })) + "::text[])"
	case c.field.kind == number:
		return column + " = ANY (" + arg(list(c.values, func(v value) string { return v.json })) + "::text[]::numeric[])"
	default:
		return column + " = ANY (" + arg(list(c.values, func(v value) time.Time { return v.time })) + "::timestamptz[])"
	}
}

// propertySQL may be NULL. A JSON number is compared as JSON, together with its kind:
// SQL may test in any order, and a cast to numeric of what is none would be an error.
// The names are taken one by one, since #> would count the elements of arrays with them.
func (c condition) propertySQL(arg func(any) string) string {
	p := "properties"
	for _, name := range c.field.path {
		p += " -> " + arg(name) + "::text"
	}
	p = "(" + p + ")"
	switch c.op {
	case exists:
		return p + " <> 'null'"
	case contains:
		return "jsonb_typeof" + p + " = 'string' AND strpos(" + p + " #>> '{}', " + arg(c.values[0].text) + "::text) > 0"
	case in:
		return p + " = ANY (" + arg(list(c.values, func(v value) string { return v.json })) + "::text[]::jsonb[])"
	default:
		return "jsonb_typeof" + p + " = 'number' AND " + p + " " + string(c.op) + " " + arg(c.values[0].json) + "::text::jsonb"
	}
}

func list[T any](values []value, of func(value) T) []T {
	l := make([]T, len(values))
	for i, v := range values {
		l[i] = of(v)
	}
	return l
}
