package event

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the event as it travels on the stream and returns the
// extended buffer. Empty fields are left out. Parse reads it back.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = e.ID.appendTo(dst)
	dst = appendMember(dst, `","type":`, e.Type)
	dst = append(dst, `,"time":"`...)
	dst = e.Time.AppendFormat(dst, time.RFC3339Nano)
	dst = appendMember(dst, `","source":`, e.Source)
	dst = appendOptional(dst, `,"user_id":`, e.UserID)
	dst = appendOptional(dst, `,"anonymous_id":`, e.AnonymousID)
	dst = appendOptional(dst, `,"session_id":`, e.SessionID)
	dst = appendOptional(dst, `,"path":`, e.Path)
	dst = appendOptional(dst, `,"referrer":`, e.Referrer)
	dst = appendOptional(dst, `,"country":`, e.Country)
	dst = appendOptional(dst, `,"device":`, e.Device)
	dst = appendOptional(dst, `,"browser":`, e.Browser)
	dst = appendOptional(dst, `,"os":`, e.OS)
	if e.HasValue {
		dst = append(dst, `,"value":`...)
		dst = AppendMicros(dst, e.Value)
	}
	dst = appendOptional(dst, `,"currency":`, e.Currency)
	if e.Properties != "" {
		dst = append(dst, `,"properties":`...)
		dst = append(dst, e.Properties...)
	}
	return append(dst, '}')
}

// AppendMicros appends a value in millionths as a JSON number: 1500000 is 1.5.
func AppendMicros(dst []byte, n int64) []byte {
	u := uint64(n)
	if n < 0 {
		dst = append(dst, '-')
		u = -u
	}
	dst = strconv.AppendUint(dst, u/Micro, 10)
	fraction := u % Micro
	if fraction == 0 {
		return dst
	}
	dst = append(dst, '.')
	for unit := uint64(Micro / 10); fraction > 0; unit /= 10 {
		dst = append(dst, '0'+byte(fraction/unit))
		fraction %= unit
	}
	return dst
}

func appendOptional(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	return appendMember(dst, name, s)
}

func appendMember(dst []byte, name, s string) []byte {
	dst = append(dst, name...)
	return AppendString(dst, s)
}

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + n
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			const digits = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
