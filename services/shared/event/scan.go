package event

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner is a strict JSON scanner (RFC 8259) over one payload. After a fault,
// err is set and every method is a no-op.
type scanner struct {
	in  string
	at  int
	err string

	// unstorable is set when a value is JSON but PostgreSQL cannot keep it.
	unstorable string
}

type kind byte

const (
	kindNone kind = iota
	kindNull
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

func (s *scanner) fail(why string) {
	if s.err == "" {
		s.err = why
	}
}

func (s *scanner) space() {
	for s.at < len(s.in) {
		c := s.in[s.at]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return // nearly always at once, by the first comparison
		}
		s.at++
	}
}

func (s *scanner) take(c byte) bool {
	if s.at < len(s.in) && s.in[s.at] == c {
		s.at++
		return true
	}
	return false
}

// key reads a member's name, the colon and the space after it.
func (s *scanner) key() string {
	if s.at >= len(s.in) || s.in[s.at] != '"' {
		s.fail("expected a member's name in double quotes")
		return ""
	}
	raw, escaped := s.str()
	s.space()
	if s.err == "" && !s.take(':') {
		s.fail("expected ':'")
	}
	s.space()
	if escaped {
		return unescape(raw)
	}
	return raw
}

// text reads a value that must be a string or null, which gives "". Another type
// is a fault of the field.
func (s *scanner) text(field string, v *Invalid) string {
	if s.at < len(s.in) && s.in[s.at] == '"' {
		raw, escaped := s.str()
		if s.err != "" {
			return ""
		}
		if s.unstorable != "" {
			v.add(field, s.unstorable)
			s.unstorable = ""
			return ""
		}
		if escaped {
			return unescape(raw)
		}
		return raw
	}
	_, kind := s.value()
	s.unstorable = ""
	if kind != kindNull && s.err == "" {
		v.add(field, ruleString)
	}
	return ""
}

// value skips over any one value, checking it, and returns its text and kind.
func (s *scanner) value() (string, kind) {
	start := s.at
	k := s.skip(0)
	if s.err != "" {
		return "", kindNone
	}
	return s.in[start:s.at], k
}

func (s *scanner) skip(depth int) kind {
	if s.at >= len(s.in) {
		s.fail("unexpected end")
		return kindNone
	}
	if depth > MaxDepth {
		s.fail("nested too deeply")
		return kindNone
	}
	switch c := s.in[s.at]; c {
	case '{':
		s.members(depth, '}', true)
		return kindObject
	case '[':
		s.members(depth, ']', false)
		return kindArray
	case '"':
		s.str()
		return kindString
	case 't':
		s.word("true")
		return kindBool
	case 'f':
		s.word("false")
		return kindBool
	case 'n':
		s.word("null")
		return kindNull
	default:
		if c == '-' || c >= '0' && c <= '9' {
			s.number()
			return kindNumber
		}
		s.fail("expected a value")
		return kindNone
	}
}

func (s *scanner) members(depth int, end byte, named bool) {
	s.at++
	s.space()
	if s.take(end) {
		return
	}
	for s.err == "" {
		if named {
			s.key()
		}
		if s.err == "" {
			s.skip(depth + 1)
		}
		s.space()
		if s.take(end) {
			return
		}
		if !s.take(',') {
			s.fail("expected ',' or '" + string(end) + "'")
		}
		s.space()
	}
}

func (s *scanner) word(w string) {
	if !strings.HasPrefix(s.in[s.at:], w) {
		s.fail("expected a value")
		return
	}
	s.at += len(w)
}

// maxScale is how many decimal places PostgreSQL's numeric has room for, and with it
// jsonb: zeros at the end count.
const maxScale = 16_383

// number checks the grammar of JSON's numbers. One beyond float64 is valid JSON
// that few readers could take back, so it cannot be stored.
func (s *scanner) number() {
	s.take('-')
	whole := s.digits()
	if s.err == "" && whole > 1 && s.in[s.at-whole] == '0' {
		s.fail("number has a leading zero")
	}
	scale := 0
	if s.take('.') {
		scale = s.digits()
	}
	exponent := 0
	if s.take('e') || s.take('E') {
		negative := s.take('-')
		if !negative {
			s.take('+')
		}
		for i := s.digits(); i > 0 && exponent < 1000; i-- {
			exponent = exponent*10 + int(s.in[s.at-i]-'0')
		}
		if negative {
			scale += exponent
		}
	}
	if exponent+whole > 309 { // 1e309: the float64 range ends at 1.8e308
		s.unstorable = "must not contain a number beyond what a float64 holds"
	}
	if scale > maxScale {
		s.unstorable = ruleScale
	}
}

func (s *scanner) digits() (n int) {
	for s.at < len(s.in) && s.in[s.at] >= '0' && s.in[s.at] <= '9' {
		s.at++
		n++
	}
	if n == 0 {
		s.fail("expected a digit")
	}
	return n
}

// plain marks the bytes of a string that need no second look.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// str reads a string and returns what stands between its quotes, and whether
// that holds escapes.
func (s *scanner) str() (raw string, escaped bool) {
	s.at++
	start, in := s.at, s.in
	for i := s.at; i < len(in); {
		c := in[i]
		if plain[c] {
			i++
			continue
		}
		s.at = i
		switch {
		case c == '"':
			s.at++
			return in[start:i], escaped
		case c == '\\':
			escaped = true
			s.escape()
		case c < 0x20:
			s.fail("control character in a string")
		default:
			r, n := utf8.DecodeRuneInString(in[i:])
			if r == utf8.RuneError && n == 1 {
				s.fail("invalid UTF-8")
			}
			s.at += n
		}
		if s.err != "" {
			return "", false
		}
		i = s.at
	}
	s.at = len(in)
	s.fail("string without an end")
	return "", false
}

// escape checks one escape sequence and steps over it.
func (s *scanner) escape() {
	rest := s.in[s.at:]
	if len(rest) < 2 {
		s.fail("string without an end")
		return
	}
	switch rest[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at += 2
	case 'u':
		r := hex4(rest)
		switch {
		case r < 0:
			s.fail("\\u needs four hexadecimal digits")
			return
		case r == 0:
			s.unstorable = ruleNUL
		case utf16.IsSurrogate(r):
			if len(rest) < 12 || utf16.DecodeRune(r, hex4(rest[6:])) == utf8.RuneError {
				s.unstorable = "must not contain half of a surrogate pair"
			} else {
				s.at += 6
			}
		}
		s.at += 6
	default:
		s.fail("unknown escape")
	}
}

// hex4 returns the code unit of the \uXXXX that s begins with, or -1.
func hex4(s string) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	var r rune
	for i := 2; i < 6; i++ {
		d := hexDigit[s[i]]
		if d > 15 {
			return -1
		}
		r = r<<4 | rune(d)
	}
	return r
}

// unescape resolves the escapes of a string that str has checked.
func unescape(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = s[i:]
		n := 2
		switch s[1] {
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			r := hex4(s)
			n = 6
			if utf16.IsSurrogate(r) {
				if r = utf16.DecodeRune(r, hex4(s[6:])); r != utf8.RuneError {
					n = 12
				}
			}
			b.WriteRune(r)
		default:
			b.WriteByte(s[1])
		}
		s = s[n:]
	}
}
