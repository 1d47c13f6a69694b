// Package name turns the names that other systems give their events into types.
package name

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"weir/services/shared/event"
)

const (
	maxLength  = 64 // of a type
	hashLength = 8  // hexadecimal digits that keep shortened names apart
)

// Type makes a type of a name, always the same of the same one: lower case, words
// joined by underscores, accents dropped. "Order Completed" and "orderCompleted" become
// order_completed; com.example.Order/created becomes com.example.order_created. A name
// that does not begin with a letter gets event_ in front. What is too long for a type,
// or is written in a script that types do not have, ends in a part of its hash, so that
// different names stay different types. A type stays as it is. No name, no type.
func Type(name string) string {
	if name == "" || event.ValidType(name) {
		return name
	}
	var b strings.Builder
	lower, lost := false, false // the last rune was one; a letter had no place
	for _, r := range norm.NFKD.String(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
			lower = true
			continue
		case r >= 'A' && r <= 'Z':
			if lower {
				b.WriteByte('_')
			}
			b.WriteRune(r - 'A' + 'a')
		case r == '.':
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r): // an accent, apart from its letter
			continue
		default:
			lost = lost || unicode.IsLetter(r) || unicode.IsDigit(r)
			if b.Len() > 0 && !strings.HasSuffix(b.String(), "_") {
				b.WriteByte('_')
			}
		}
		lower = false
	}
	t := strings.Trim(b.String(), "_.")
	if t == "" || t[0] < 'a' {
		t = strings.TrimSuffix("event_"+t, "_")
		lost = lost || t == "event"
	}
	if !lost && len(t) <= maxLength {
		return t
	}
	sum := sha256.Sum256([]byte(name))
	return strings.TrimRight(t[:min(len(t), maxLength-hashLength-1)], "_.") + "_" + hex.EncodeToString(sum[:hashLength/2])
}
