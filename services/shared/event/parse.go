package event

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parse reads one event from JSON into e, which it resets. It returns what the
// JSON itself does wrong: bad syntax, wrong types, unknown and repeated fields;
// the rules about contents are Validate's. On a syntax error nothing after it is
// read.
//
// It is a parser of its own because decoding is half of the consumer's work: it
// allocates nothing for an event without escapes, its strings share the
// payload's memory, and it checks properties for everything that jsonb refuses
// (NUL, lone surrogates, bad UTF-8, wild numbers), so that a COPY never fails on
// what could have been known before. A fuzz test holds it to encoding/json.
func (e *Event) Parse(payload string) (v Invalid) {
	*e = Event{}
	if len(payload) > MaxSize {
		return Invalid{{"", ruleSize}}
	}
	s := scanner{in: payload}
	s.space()
	if !s.take('{') {
		return Invalid{{"", "must be a JSON object"}}
	}
	var seen uint32
	next := 0 // the field that is likely to come
	for first := true; ; first = false {
		s.space()
		if s.take('}') {
			break
		}
		if !first {
			if !s.take(',') {
				s.fail("expected ',' or '}'")
				break
			}
			s.space()
		}
		key, n := s.member(next)
		if s.err != "" {
			break
		}
		if n < 0 {
			s.value()
			s.unstorable = ""
			v.add(quoteUnknown(key), ruleUnknown)
		} else {
			e.field(&s, n, &v)
			if s.err == "" && seen&(1<<n) != 0 {
				v.add(fields[n], ruleTwice)
			}
			seen |= 1 << n
		}
		if s.err != "" {
			break
		}
		next = n + 1
	}
	if s.err == "" {
		if s.space(); s.at < len(s.in) {
			s.fail("unexpected text after the event")
		}
	}
	if s.err != "" {
		return Invalid{{"", "is not valid JSON: " + s.err + " at byte " + strconv.Itoa(s.at)}}
	}
	return v
}

// The fields of an event, in the order in which AppendJSON writes them.
const (
	fieldID = iota
	fieldType
	fieldTime
	fieldSource
	fieldUserID
	fieldAnonymousID
	fieldSessionID
	fieldPath
	fieldReferrer
	fieldCountry
	fieldDevice
	fieldBrowser
	fieldOS
	fieldValue
	fieldCurrency
	fieldProperties
)

var (
	fields = [...]string{
		"id", "type", "time", "source", "user_id", "anonymous_id", "session_id", "path", "referrer",
		"country", "device", "browser", "os", "value", "currency", "properties",
	}
	members = func() (list [len(fields)]string) { // as they begin on the stream
		for i, name := range fields {
			list[i] = `"` + name + `":`
		}
		return list
	}()
)

// member reads a member's name, the colon and the space after it, and returns which field that
// is; -1 and the name when it is none. An event from the stream has its fields in order, so that
// the next one is found by comparing.
func (s *scanner) member(next int) (name string, field int) {
	for n, rest := next, s.in[s.at:]; n < len(members); n++ {
		if strings.HasPrefix(rest, members[n]) {
			s.at += len(members[n])
			s.space()
			return "", n
		}
	}
	name = s.key()
	return name, slices.Index(fields[:], name)
}

// field reads the value of a field.
func (e *Event) field(s *scanner, n int, v *Invalid) {
	switch n {
	case fieldID:
		text := s.text("id", v)
		if id, ok := ParseUUID(text); ok {
			e.ID = id
		} else if len(text) > MaxIDLength {
			atMost(v, "id", text, MaxIDLength)
		} else {
			e.MessageID = text
		}
	case fieldType:
		e.Type = s.text("type", v)
	case fieldTime:
		if text := s.text("time", v); text != "" {
			t, err := time.Parse(time.RFC3339Nano, text)
			switch t = t.UTC().Truncate(time.Microsecond); {
			case err != nil:
				v.add("time", ruleTime)
			case t.IsZero(): // year 1, not the absence of a time
				v.add("time", ruleTimeOld)
			default:
				e.Time = t
			}
		}
	case fieldSource:
		e.Source = s.text("source", v)
	case fieldUserID:
		e.UserID = s.text("user_id", v)
	case fieldAnonymousID:
		e.AnonymousID = s.text("anonymous_id", v)
	case fieldSessionID:
		e.SessionID = s.text("session_id", v)
	case fieldPath:
		e.Path = s.text("path", v)
	case fieldReferrer:
		e.Referrer = s.text("referrer", v)
	case fieldCountry:
		e.Country = s.text("country", v)
	case fieldDevice:
		e.Device = s.text("device", v)
	case fieldBrowser:
		e.Browser = s.text("browser", v)
	case fieldOS:
		e.OS = s.text("os", v)
	case fieldCurrency:
		e.Currency = s.text("currency", v)
	case fieldValue:
		raw, kind := s.value()
		switch kind {
		case kindNull:
		case kindNumber:
			var ok bool
			if e.Value, ok = parseMicros(raw); ok {
				e.HasValue = true
			} else {
				v.add("value", ruleValue)
			}
		default:
			v.add("value", ruleValue)
		}
		s.unstorable = "" // it is kept as millionths
	case fieldProperties:
		raw, kind := s.value()
		switch {
		case kind == kindNull:
		case kind != kindObject:
			v.add("properties", ruleProps)
		case len(raw) > MaxPropertiesSize:
			v.add("properties", rulePropsMax)
		case s.unstorable != "":
			v.add("properties", s.unstorable)
		default:
			e.Properties = raw
		}
		s.unstorable = ""
	}
}

// quoteUnknown makes a stranger's member name fit to show.
func quoteUnknown(key string) string {
	if key == "" {
		return `""`
	}
	if len(key) > 64 {
		return strings.ToValidUTF8(key[:64], "") + "…"
	}
	return key
}

// parseMicros reads a JSON number as millionths, exactly when it has no
// exponent, and rounds half away from zero what is finer.
func parseMicros(s string) (int64, bool) {
	if strings.ContainsAny(s, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Abs(f) >= MaxValue {
			return 0, false
		}
		return int64(math.Round(f * Micro)), true
	}
	negative := strings.HasPrefix(s, "-")
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if len(whole) > 12 { // JSON has no leading zeros: this is 1e12 or more
		return 0, false
	}
	var n int64
	for i := range len(whole) {
		n = n*10 + int64(whole[i]-'0')
	}
	for i := range 6 {
		n *= 10
		if i < len(fraction) {
			n += int64(fraction[i] - '0')
		}
	}
	if len(fraction) > 6 && fraction[6] >= '5' {
		n++
	}
	if negative {
		n = -n
	}
	return n, n > -MaxValue*Micro && n < MaxValue*Micro
}
