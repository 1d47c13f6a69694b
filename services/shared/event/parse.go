package event

import (
	"math"
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
		key := s.key()
		if s.err != "" {
			break
		}
		bit := e.field(&s, key, &v)
		if s.err != "" {
			break
		}
		if bit != 0 && seen&bit != 0 {
			v.add(key, ruleTwice)
		}
		seen |= bit
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

// field reads the value of one member and returns the bit that stands for it.
func (e *Event) field(s *scanner, key string, v *Invalid) (bit uint32) {
	switch key {
	case "id":
		text := s.text(key, v)
		if id, ok := ParseUUID(text); ok {
			e.ID = id
		} else if len(text) > MaxIDLength {
			atMost(v, "id", text, MaxIDLength)
		} else {
			e.MessageID = text
		}
		return 1 << 0
	case "type":
		e.Type = s.text(key, v)
		return 1 << 1
	case "time":
		if text := s.text(key, v); text != "" {
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
		return 1 << 2
	case "source":
		e.Source = s.text(key, v)
		return 1 << 3
	case "user_id":
		e.UserID = s.text(key, v)
		return 1 << 4
	case "anonymous_id":
		e.AnonymousID = s.text(key, v)
		return 1 << 5
	case "session_id":
		e.SessionID = s.text(key, v)
		return 1 << 6
	case "path":
		e.Path = s.text(key, v)
		return 1 << 7
	case "referrer":
		e.Referrer = s.text(key, v)
		return 1 << 8
	case "country":
		e.Country = s.text(key, v)
		return 1 << 9
	case "device":
		e.Device = s.text(key, v)
		return 1 << 10
	case "browser":
		e.Browser = s.text(key, v)
		return 1 << 11
	case "os":
		e.OS = s.text(key, v)
		return 1 << 12
	case "currency":
		e.Currency = s.text(key, v)
		return 1 << 13
	case "value":
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
		return 1 << 14
	case "properties":
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
		return 1 << 15
	default:
		s.value()
		s.unstorable = ""
		v.add(quoteUnknown(key), ruleUnknown)
		return 0
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
