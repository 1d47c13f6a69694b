package filter

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Parse reads an expression; only space gives the one that takes all. Every error is
// an *Error.
func Parse(s string) (Expr, error) {
	if len(s) > MaxSize {
		return Expr{}, &Error{MaxSize, fmt.Sprintf("must be at most %d bytes", MaxSize)}
	}
	if !utf8.ValidString(s) {
		return Expr{}, &Error{0, "must be UTF-8"}
	}
	p := parser{text: s}
	if err := p.advance(); err != nil {
		return Expr{}, err
	}
	if p.kind == end {
		return Expr{}, nil
	}
	root, err := p.expression(0)
	if err != nil {
		return Expr{}, err
	}
	if p.kind != end {
		return Expr{}, p.expected("and, or, or the end")
	}
	return Expr{root}, nil
}

// parser holds the token that is looked at.
type parser struct {
	text string
	token
	conditions int
}

func (p *parser) advance() (err error) {
	p.token, err = lex(p.text, p.at+len(p.token.text))
	return err
}

func (p *parser) expected(what string) error {
	return &Error{p.at, "expected " + what + ", found " + p.String()}
}

// accept goes past a keyword or mark, if it is there.
func (p *parser) accept(s string) (bool, error) {
	if !p.is(s) {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) require(s string) error {
	if !p.is(s) {
		return p.expected(s)
	}
	return p.advance()
}

func (p *parser) expression(depth int) (node, error) {
	nodes, err := p.chain("or", func() (node, error) {
		factors, err := p.chain("and", func() (node, error) { return p.factor(depth) })
		if len(factors) == 1 {
			return factors[0], err
		}
		return and(factors), err
	})
	if len(nodes) == 1 {
		return nodes[0], err
	}
	return or(nodes), err
}

// chain reads parts with a word between them, at least one.
func (p *parser) chain(word string, part func() (node, error)) (nodes []node, err error) {
	for {
		n, err := part()
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		if more, err := p.accept(word); !more || err != nil {
			return nodes, err
		}
	}
}

func (p *parser) factor(depth int) (node, error) {
	negated, grouped := p.is("not"), p.is("(")
	if !negated && !grouped {
		return p.condition()
	}
	if depth == MaxDepth {
		return nil, &Error{p.at, fmt.Sprintf("is nested more than %d deep", MaxDepth)}
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if negated {
		n, err := p.factor(depth + 1)
		return not{n}, err
	}
	n, err := p.expression(depth + 1)
	if err != nil {
		return nil, err
	}
	return n, p.require(")")
}

func (p *parser) condition() (node, error) {
	if p.conditions++; p.conditions > MaxConditions {
		return nil, &Error{p.at, fmt.Sprintf("has more than %d conditions", MaxConditions)}
	}
	f, err := p.field()
	if err != nil {
		return nil, err
	}
	c := condition{field: f}
	negated, err := p.operator(&c)
	switch {
	case err != nil:
	case c.op == exists:
	case c.op == in && p.is("in"):
		err = p.list(&c)
	default:
		err = p.value(&c)
	}
	if negated {
		return not{c}, err
	}
	return c, err
}

// operator reads up to the values; of a list it leaves the word in.
func (p *parser) operator(c *condition) (negated bool, err error) {
	at := p.token
	switch {
	case p.is("is"):
		c.op = in
		if err := p.advance(); err != nil {
			return false, err
		}
		if negated, err = p.accept("not"); err == nil && p.is("in") {
			err = p.expected("a value")
		}
		return negated, err
	case p.is("in"):
		c.op = in
		return false, nil
	case p.is("not"):
		c.op = in
		if err := p.advance(); err != nil {
			return false, err
		}
		if !p.is("in") {
			return false, p.expected("in")
		}
		return true, nil
	case p.is("="), p.is("!="):
		c.op = in
	case p.is("exists"):
		c.op = exists
	case p.is("contains"):
		c.op = contains
		if c.field.kind == number || c.field.kind == instant {
			return false, &Error{at.at, c.field.name + " is no text: it cannot be searched by contains"}
		}
	case p.is("<"), p.is("<="), p.is(">"), p.is(">="):
		c.op = op(at.text)
		if c.field.kind == text {
			return false, &Error{at.at, c.field.name + " is text: it has no order that " + at.text + " could ask for"}
		}
	default:
		return false, p.expected("is, in, contains, exists, or a comparison")
	}
	return at.text == "!=", p.advance()
}

func (p *parser) field() (*field, error) {
	if p.kind != word {
		return nil, p.expected("a field")
	}
	name := p.token
	if name.text != "properties" {
		f := fieldNamed(name.text)
		if f == nil {
			return nil, p.expected("a field (" + strings.Join(names(), ", ") + " or properties.name)")
		}
		return f, p.advance()
	}
	f := &field{name: "properties", kind: property}
	if err := p.advance(); err != nil {
		return nil, err
	}
	for {
		dot, err := p.accept(".")
		if err != nil {
			return nil, err
		}
		if !dot {
			break
		}
		part := p.token
		switch p.kind {
		case word:
			f.path = append(f.path, part.text)
		case quoted:
			s, err := part.unquote()
			if err != nil {
				return nil, err
			}
			f.path = append(f.path, s)
		default:
			return nil, p.expected("a property's name")
		}
		if len(f.path) > MaxDepth {
			return nil, &Error{part.at, fmt.Sprintf("is more than %d names deep", MaxDepth)}
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	if len(f.path) == 0 {
		return nil, p.expected(". and a property's name")
	}
	return f, nil
}

func names() (list []string) {
	for _, f := range fields {
		list = append(list, f.name)
	}
	return list
}

func (p *parser) list(c *condition) error {
	if err := p.require("in"); err != nil {
		return err
	}
	if err := p.require("("); err != nil {
		return err
	}
	for {
		if len(c.values) == MaxValues {
			return &Error{p.at, fmt.Sprintf("is a list of more than %d values", MaxValues)}
		}
		if err := p.value(c); err != nil {
			return err
		}
		if more, err := p.accept(","); err != nil {
			return err
		} else if !more {
			return p.require(")")
		}
	}
}

// value reads a literal of a kind that the field and the operator take.
func (p *parser) value(c *condition) error {
	v := value{json: p.text[p.at : p.at+len(p.token.text)]}
	var err error
	switch {
	case p.kind == quoted:
		v.kind = stringValue
		v.text, err = p.unquote()
	case p.kind == numeral:
		v.kind = numberValue
		v.number, err = p.number()
	case p.is("true"), p.is("false"):
		v.kind, v.truth = boolValue, p.is("true")
		v.json = strconv.FormatBool(v.truth)
	default:
		return p.expected("a value: a string in double quotes, a number, true or false")
	}
	if err != nil {
		return err
	}
	switch {
	case c.field.kind == instant:
		t, err := time.Parse(time.RFC3339, v.text)
		if v.kind != stringValue || err != nil {
			return p.expected(`a time such as "2026-01-02T15:04:05Z"`)
		}
		v.time = t.UTC().Truncate(time.Microsecond)
	case (c.field.kind == text || c.op == contains) && v.kind != stringValue:
		return p.expected("a string in double quotes")
	case (c.field.kind == number || c.field.kind == property && c.op != in && c.op != contains) && v.kind != numberValue:
		return p.expected("a number")
	}
	if v.kind == stringValue { // the same in each spelling
		data, _ := json.Marshal(v.text)
		v.json = string(data)
	}
	c.values = append(c.values, v)
	return p.advance()
}

// Numbers are within what a database's numeric holds without ado.
const maxDigits, maxExponent = 64, 400

func (p *parser) number() (d decimal, err error) {
	var n json.Number
	if json.Unmarshal([]byte(p.token.text), &n) != nil {
		return d, p.expected("a JSON number, such as 12.5")
	}
	d = parseDecimal(n.String())
	if len(p.token.text) > maxDigits || d.exponent > maxExponent || d.exponent < -maxExponent {
		return d, &Error{p.at, fmt.Sprintf("must be a number of at most %d characters, from 1e-%d to 1e%d", maxDigits, maxExponent, maxExponent)}
	}
	return d, nil
}
