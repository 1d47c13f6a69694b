// Package dimension fits what other systems say into an event's dimensions. What does
// not fit is "": it stays among the properties, and is no reason to refuse an event.
package dimension

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"weir/services/ingestion/internal/object"
	"weir/services/shared/event"
)

// Agent fits a device, browser or operating system.
func Agent(s string) string { return fit(s, event.MaxAgentLength) }

// URL fits a path or a referrer.
func URL(s string) string { return fit(s, event.MaxURLLength) }

func fit(s string, most int) string {
	if len(s) > most {
		return ""
	}
	return s
}

// Path is the path of an address.
func Path(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Path
}

// Country fits a country's code, of two letters.
func Country(s string) string { return code(s, 2) }

// Currency fits a currency's code, of three letters.
func Currency(s string) string { return code(s, 3) }

func code(s string, letters int) string {
	if len(s) != letters {
		return ""
	}
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return ""
		}
	}
	return strings.ToUpper(s)
}

// Value is the first of the named members that is an amount, as a JSON number: one
// already, or as text, with a dollar sign at most.
func Value(f object.Fields, names ...string) string {
	for _, n := range names {
		text := strings.TrimPrefix(f.Maybe(n), "$")
		amount, err := strconv.ParseFloat(text, 64)
		if err == nil && json.Valid([]byte(text)) && amount > -event.MaxValue && amount < event.MaxValue {
			return text
		}
	}
	return ""
}
