package filter

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error tells where a filter is wrong.
type Error struct {
	At   int    // byte of the text, from 0
	Rule string // what was expected there, and what was found
}

func (e *Error) Error() string { return fmt.Sprintf("at byte %d: %s", e.At, e.Rule) }

// token is a word, a literal or a mark. At the end of the text its text is "".
type token struct {
	kind tokenKind
	at   int
	text string // as written
}

type tokenKind int

const (
	end tokenKind = iota
	word
	quoted
	numeral
	mark
)

func (t token) String() string {
	if t.kind == end {
		return "the end"
	}
	if len(t.text) > 40 {
		return strings.ToValidUTF8(t.text[:40], "") + "..."
	}
	return t.text
}

// is reports whether the token is this keyword or mark.
func (t token) is(s string) bool {
	return t.kind == mark && t.text == s || t.kind == word && strings.EqualFold(t.text, s)
}

// lex returns the token that begins at or after byte at.
func lex(s string, at int) (token, error) {
	for at < len(s) && strings.IndexByte(" \t\r\n", s[at]) >= 0 {
		at++
	}
	if at == len(s) {
		return token{kind: end, at: at}, nil
	}
	take := func(kind tokenKind, n int) (token, error) { return token{kind, at, s[at : at+n]}, nil }
	rest := s[at:]
	switch c := rest[0]; {
	case letter(c):
		n := 1
		for n < len(rest) && (letter(rest[n]) || digit(rest[n])) {
			n++
		}
		return take(word, n)
	case c == '"':
		for n := 1; n < len(rest); n++ {
			switch rest[n] {
			case '\\':
				n++
			case '"':
				return take(quoted, n+1)
			}
		}
		return token{}, &Error{at, "the string is not closed"}
	case digit(c), c == '-':
		n := 1
		for n < len(rest) && (digit(rest[n]) || strings.IndexByte("+-.eE", rest[n]) >= 0) {
			n++
		}
		return take(numeral, n)
	case strings.HasPrefix(rest, "!="), strings.HasPrefix(rest, "<="), strings.HasPrefix(rest, ">="):
		return take(mark, 2)
	case strings.IndexByte("=<>(),.", c) >= 0:
		return take(mark, 1)
	case c == '\'':
		return token{}, &Error{at, `text is written in double quotes, such as "DE"`}
	default:
		_, n := utf8.DecodeRuneInString(rest)
		return token{}, &Error{at, fmt.Sprintf("did not expect %q", rest[:n])}
	}
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

// unquote reads a JSON string.
func (t token) unquote() (s string, err error) {
	if json.Unmarshal([]byte(t.text), &s) != nil {
		return "", &Error{t.at, "must be a JSON string, such as \"DE\""}
	}
	if strings.ContainsRune(s, 0) {
		return "", &Error{t.at, "must not contain the NUL character"}
	}
	return s, nil
}
