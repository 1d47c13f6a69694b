package event

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// UUID is an event's idempotency key in its 16 bytes.
type UUID [16]byte

// String returns the canonical form: 8-4-4-4-12 lower-case hexadecimal digits.
func (u UUID) String() string {
	var text [36]byte // on the stack: the string is all that is allocated
	return string(u.appendTo(text[:0]))
}

// MarshalText implements encoding.TextMarshaler.
func (u UUID) MarshalText() ([]byte, error) { return u.appendTo(nil), nil }

func (u UUID) appendTo(dst []byte) []byte {
	for i, n := 0, 0; i < len(groups); i++ {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, u[n:n+groups[i]])
		n += groups[i]
	}
	return dst
}

var groups = [...]int{4, 2, 2, 2, 6} // bytes between the hyphens

// ParseUUID reads the canonical form, in either case. It reports false for
// anything else, the nil UUID included.
func ParseUUID(s string) (u UUID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return UUID{}, false
	}
	for i, j := range digitsAt {
		hi, lo := hexDigit[s[j]], hexDigit[s[j+1]]
		if hi|lo > 15 {
			return UUID{}, false
		}
		u[i] = hi<<4 | lo
	}
	return u, u != UUID{}
}

var digitsAt = [16]byte{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

var hexDigit = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = byte(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = byte(10+i), byte(10+i)
	}
	return t
}()

// NewID returns a random UUID, version 7 (RFC 9562), that sorts by t.
func NewID(t time.Time) UUID {
	var u UUID
	_, _ = rand.Read(u[6:]) // never fails: crypto/rand ends the program instead
	return u.stamp(t, 7)
}

// DeriveID turns a client's own message id into a UUID: the event's time in
// milliseconds, so that index inserts stay at the right-hand edge, and a hash of
// source and message id. The same message always gives the same id. Version 8
// (RFC 9562: custom).
func DeriveID(t time.Time, source, messageID string) UUID {
	var room [64 + 1 + MaxIDLength]byte // on the stack
	both := append(room[:0], source...)
	both = append(both, 0) // neither part may contain it, so no two pairs collide
	sum := sha256.Sum256(append(both, messageID...))
	var u UUID
	copy(u[6:], sum[:])
	return u.stamp(t, 8)
}

func (u UUID) stamp(t time.Time, version byte) UUID {
	ms := uint64(t.UnixMilli())
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = u[6]&0x0f | version<<4
	u[8] = u[8]&0x3f | 0x80
	return u
}
