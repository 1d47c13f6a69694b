package event

import (
	"fmt"
	"strconv"
	"time"
)

// The rules' texts are constants: a rejected event costs no formatting, and
// dead letters group by them.
var (
	ruleRequired = "is required"
	ruleID       = "must be a UUID such as 0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f"
	ruleType     = "must match ^[a-z][a-z0-9_.]{0,63}$"
	ruleSource   = "must be 1 to 64 letters, digits, or any of _ . : / - and start with a letter or digit"
	ruleTime     = "must be an RFC 3339 time with a zone, such as 2026-01-02T15:04:05.123Z"
	ruleTimeOld  = "must not be before " + MinTime.Format(time.RFC3339)
	ruleTimeNew  = fmt.Sprintf("must not be more than %v ahead of the receiver's clock", MaxFuture)
	ruleActor    = "is required, or anonymous_id: at least one says who did it"
	ruleCountry  = "must be two capital letters (ISO 3166-1 alpha-2), such as DE"
	ruleCurrency = "must be three capital letters (ISO 4217), such as EUR"
	ruleNUL      = "must not contain the NUL character"
	ruleValue    = "must be a number between -1e12 and 1e12; it is kept to 6 decimal places"
	ruleScale    = "must not contain a number with more than " + strconv.Itoa(maxScale) + " decimal places"
	ruleString   = "must be a string"
	ruleProps    = "must be a JSON object"
	rulePropsMax = "must be at most " + strconv.Itoa(MaxPropertiesSize) + " bytes of JSON"
	ruleSize     = "event must be at most " + strconv.Itoa(MaxSize) + " bytes of JSON"
	ruleUnknown  = "is not a field of an event: put it in properties"
	ruleTwice    = "is given twice"
)

// Validate appends to v every rule that the event breaks, and returns that in Brief.
// Fields that v already holds a fault for are not judged again. now is the receiver's clock.
//
// It is the one definition of a valid event: ingestion calls it before it
// publishes, consumer before it stores, because anybody may XADD.
func (e *Event) Validate(now time.Time, v Invalid) Invalid {
	if v.Has("") {
		return v // unreadable: its fields say nothing
	}
	if e.ID == (UUID{}) && !v.Has("id") {
		if e.MessageID == "" {
			v.add("id", ruleRequired)
		} else {
			v.add("id", ruleID)
		}
	}
	if !ValidType(e.Type) && !v.Has("type") {
		if e.Type == "" {
			v.add("type", ruleRequired)
		} else {
			v.add("type", ruleType)
		}
	}
	switch {
	case e.Time.IsZero():
		if !v.Has("time") {
			v.add("time", ruleRequired)
		}
	case e.Time.Before(MinTime):
		v.add("time", ruleTimeOld)
	case e.Time.Sub(now) > MaxFuture:
		v.add("time", ruleTimeNew)
	}
	if !ValidSource(e.Source) && !v.Has("source") {
		if e.Source == "" {
			v.add("source", ruleRequired)
		} else {
			v.add("source", ruleSource)
		}
	}
	if e.UserID == "" && e.AnonymousID == "" && !v.Has("user_id") && !v.Has("anonymous_id") {
		v.add("user_id", ruleActor)
	}
	atMost(&v, "user_id", e.UserID, MaxActorLength)
	atMost(&v, "anonymous_id", e.AnonymousID, MaxActorLength)
	atMost(&v, "session_id", e.SessionID, MaxActorLength)
	atMost(&v, "path", e.Path, MaxURLLength)
	atMost(&v, "referrer", e.Referrer, MaxURLLength)
	atMost(&v, "device", e.Device, MaxAgentLength)
	atMost(&v, "browser", e.Browser, MaxAgentLength)
	atMost(&v, "os", e.OS, MaxAgentLength)
	if e.Country != "" && !capitals(e.Country, 2) {
		v.add("country", ruleCountry)
	}
	if e.Currency != "" && !capitals(e.Currency, 3) {
		v.add("currency", ruleCurrency)
	}
	return v.Brief()
}

// ValidSource reports whether s can name a source.
func ValidSource(s string) bool {
	if s == "" || len(s) > 64 || !alphanumeric(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case alphanumeric(c), c == '_', c == '.', c == ':', c == '/', c == '-':
		default:
			return false
		}
	}
	return true
}

// ValidType reports whether s can be the type of an event.
func ValidType(s string) bool {
	if s == "" || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func capitals(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range n {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return true
}

func atMost(v *Invalid, field, s string, n int) {
	if len(s) > n {
		v.add(field, "must be at most "+strconv.Itoa(n)+" bytes")
	}
}
