// Package filter is the language in which every question says which events it is
// about, such as
//
//	type is "purchase" and (country in ("DE", "FR") or not path contains "/blog")
//
// One expression becomes SQL for stored events, and a predicate in Go for those of
// the live feed; both take the same events.
//
// # Language
//
//	expression = term { "or" term }
//	term       = factor { "and" factor }
//	factor     = "not" factor | "(" expression ")" | condition
//	condition  = field ( "is" | "=" | "is not" | "!=" ) value
//	           | field [ "not" ] "in" "(" value { "," value } ")"
//	           | field ( "<" | "<=" | ">" | ">=" ) value
//	           | field "contains" string
//	           | field "exists"
//	field      = a field of the event | "properties" "." name { "." name }
//	name       = letters, digits and _ not beginning with a digit | string
//	value      = JSON string | JSON number | "true" | "false"
//
// Keywords may be in capitals. Conditions are two-valued: a field that the event does
// not have satisfies no condition, and so "is not", "not in" and "not" of each. A
// property equals a value of its own kind only: 1 is 1.0, and not "1".
package filter

import (
	"slices"

	"weir/services/shared/event"
)

// Limits of one expression. They bound the parser's stack, and the time that one row takes.
const (
	MaxSize       = 4 << 10 // bytes of text
	MaxDepth      = 16      // parentheses and nots around each other; also names of a property's path
	MaxConditions = 64
	MaxValues     = 100 // of one list
)

// Expr says which events are wanted. The zero value takes all. It is immutable, and
// may be used by many goroutines at once.
type Expr struct{ root node }

// node is a part of an expression.
type node interface {
	sql(arg func(any) string) string
	match(*event.Event) bool
}

// SQL returns an expression over the columns of the table events, for WHERE. Its text
// is made of constants only: arg is called with every value that came from the filter,
// a string, a slice of strings or a time.Time, and returns its placeholder.
func (e Expr) SQL(arg func(any) string) string {
	if e.root == nil {
		return "true"
	}
	return e.root.sql(arg)
}

// Match reports whether the event is wanted.
func (e Expr) Match(ev *event.Event) bool { return e.root == nil || e.root.match(ev) }

// All reports whether every event is wanted because nothing is asked for.
func (e Expr) All() bool { return e.root == nil }

// Within reports whether these fields of an event are all that the expression asks about.
func (e Expr) Within(fields ...string) bool { return e.root == nil || within(e.root, fields) }

func within(n node, fields []string) bool {
	other := func(n node) bool { return !within(n, fields) }
	switch n := n.(type) {
	case and:
		return !slices.ContainsFunc(n, other)
	case or:
		return !slices.ContainsFunc(n, other)
	case not:
		return within(n.node, fields)
	case condition:
		return n.field.kind != property && slices.Contains(fields, n.field.name)
	default:
		return false
	}
}

// And returns the events that all of the expressions take.
func And(exprs ...Expr) Expr {
	var all and
	for _, e := range exprs {
		if e.root != nil {
			all = append(all, e.root)
		}
	}
	switch len(all) {
	case 0:
		return Expr{}
	case 1:
		return Expr{all[0]}
	default:
		return Expr{all}
	}
}

// Or returns the events that any of the expressions takes.
func Or(exprs ...Expr) Expr {
	var any or
	for _, e := range exprs {
		if e.root == nil {
			return Expr{}
		}
		any = append(any, e.root)
	}
	if len(any) == 1 {
		return Expr{any[0]}
	}
	return Expr{any}
}

// Needs is what the expression asks of these fields, whatever else it asks about: it takes
// all events that the expression takes, and others perhaps.
func (e Expr) Needs(fields ...string) Expr {
	if e.Within(fields...) {
		return e
	}
	var parts []Expr
	switch n := e.root.(type) {
	case and:
		for _, part := range n {
			parts = append(parts, Expr{part}.Needs(fields...))
		}
		return And(parts...)
	case or:
		for _, part := range n {
			parts = append(parts, Expr{part}.Needs(fields...))
		}
		return Or(parts...)
	default:
		return Expr{}
	}
}

// Lists reads the expression as a conjunction of lists, such as
//
//	type is "purchase" and country in ("DE", "FR")
//
// and returns what each field may be; of a field that is named twice, what both lists
// have. ok is false when the expression is of any other form.
func (e Expr) Lists() (lists map[string][]string, ok bool) {
	lists = map[string][]string{}
	ok = e.root == nil || gather(e.root, lists)
	return lists, ok
}

// Fields splits the expression into one of each text field, such as
//
//	type is not "purchase" and (country is "DE" or country is "FR")
//
// into what is said of type and what is said of country: all of them must take an event. ok
// is false when a part of it is about several fields, or about something else.
func (e Expr) Fields() (parts map[string]Expr, ok bool) {
	parts = map[string]Expr{}
	ok = e.root == nil || split(e.root, parts)
	return parts, ok
}

func split(n node, parts map[string]Expr) bool {
	if all, ok := n.(and); ok {
		return !slices.ContainsFunc(all, func(n node) bool { return !split(n, parts) })
	}
	f := first(n)
	if f.kind != text || !within(n, []string{f.name}) {
		return false
	}
	parts[f.name] = And(parts[f.name], Expr{n})
	return true
}

// first is the field that is asked about first.
func first(n node) *field {
	switch n := n.(type) {
	case and:
		return first(n[0])
	case or:
		return first(n[0])
	case not:
		return first(n.node)
	default:
		return n.(condition).field
	}
}

// MatchText reports whether an event is wanted of which only a text field is known; "" when
// it does not have it. It panics on an unknown name, which is a programmer's error.
func (e Expr) MatchText(field, value string) bool {
	var ev event.Event
	*textNamed(field).of(&ev) = value
	return e.Match(&ev)
}

// Text is a text field of the event; "" when it does not have it. It panics on an unknown
// name, which is a programmer's error.
func Text(e *event.Event, field string) string { return *textNamed(field).of(e) }

func textNamed(name string) *field {
	f := fieldNamed(name)
	if f == nil || f.kind != text {
		panic("filter: no text field " + name)
	}
	return f
}

func gather(n node, lists map[string][]string) bool {
	switch n := n.(type) {
	case and:
		for _, part := range n {
			if !gather(part, lists) {
				return false
			}
		}
		return true
	case condition:
		if n.field.kind != text || n.op != in {
			return false
		}
		values := list(n.values, func(v value) string { return v.text })
		if before, known := lists[n.field.name]; known {
			values = slices.DeleteFunc(values, func(v string) bool { return !slices.Contains(before, v) })
		}
		lists[n.field.name] = values
		return true
	default:
		return false
	}
}

// Is returns the events whose field of this name is one of the values.
// It panics on an unknown name, which is a programmer's error.
func Is(field string, values ...string) Expr {
	c := condition{field: textNamed(field), op: in}
	for _, v := range values {
		c.values = append(c.values, value{kind: stringValue, text: v})
	}
	return Expr{c}
}

type (
	and []node
	or  []node
	not struct{ node }
)

func (a and) match(e *event.Event) bool {
	for _, n := range a {
		if !n.match(e) {
			return false
		}
	}
	return true
}

func (o or) match(e *event.Event) bool {
	for _, n := range o {
		if n.match(e) {
			return true
		}
	}
	return false
}

func (n not) match(e *event.Event) bool { return !n.node.match(e) }

func (a and) sql(arg func(any) string) string { return join(a, " AND ", arg) }
func (o or) sql(arg func(any) string) string  { return join(o, " OR ", arg) }
func (n not) sql(arg func(any) string) string { return "NOT " + n.node.sql(arg) }

func join(nodes []node, word string, arg func(any) string) string {
	sql := "("
	for i, n := range nodes {
		if i > 0 {
			sql += word
		}
		sql += n.sql(arg)
	}
	return sql + ")"
}
