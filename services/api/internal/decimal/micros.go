// Package decimal adds up values exactly. A binary float would show 0.1 + 0.2 as
// 0.30000000000000004, and would make a rollup differ from its rows.
package decimal

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/shared/event"
)

// Micros is a sum in millionths, of any size: ten values of the largest magnitude
// that an event may have are more than 64 bits hold. It is immutable; the zero
// value is 0.
type Micros struct {
	small int64
	large *big.Int // instead, where 64 bits are too few; a series adds up thousands that are not
}

// FromInt64 returns n millionths.
func FromInt64(n int64) Micros { return Micros{small: n} }

func fromBig(n *big.Int) Micros {
	if n.IsInt64() {
		return FromInt64(n.Int64())
	}
	return Micros{large: n}
}

// Add returns m + o.
func (m Micros) Add(o Micros) Micros {
	if m.large == nil && o.large == nil {
		if sum := m.small + o.small; (sum > m.small) == (o.small > 0) { // it has not wrapped around
			return FromInt64(sum)
		}
	}
	return fromBig(new(big.Int).Add(m.int(), o.int()))
}

// Sub returns m - o.
func (m Micros) Sub(o Micros) Micros {
	if m.large == nil && o.large == nil {
		if rest := m.small - o.small; (rest < m.small) == (o.small > 0) {
			return FromInt64(rest)
		}
	}
	return fromBig(new(big.Int).Sub(m.int(), o.int()))
}

// Equal reports whether both are the same number.
func (m Micros) Equal(o Micros) bool { return m.int().Cmp(o.int()) == 0 }

func (m Micros) int() *big.Int {
	if m.large == nil {
		return big.NewInt(m.small)
	}
	return m.large
}

// AppendJSON appends the sum as a JSON number of units: 1500000 is 1.5.
func (m Micros) AppendJSON(dst []byte) []byte {
	if m.large == nil {
		return event.AppendMicros(dst, m.small)
	}
	digits := new(big.Int).Abs(m.large).String() // more than 18 of them, as it is not an int64
	if m.large.Sign() < 0 {
		dst = append(dst, '-')
	}
	whole, fraction := digits[:len(digits)-6], strings.TrimRight(digits[len(digits)-6:], "0")
	dst = append(dst, whole...)
	if fraction != "" {
		dst = append(append(dst, '.'), fraction...)
	}
	return dst
}

// MarshalJSON implements json.Marshaler.
func (m Micros) MarshalJSON() ([]byte, error) { return m.AppendJSON(nil), nil }

// String is the JSON form.
func (m Micros) String() string { return string(m.AppendJSON(nil)) }

// Scan reads a sum of millionths that SQL gives as text (sum(value)::text), NULL
// being 0. The text may end in zeros after a point, never in other digits.
func (m *Micros) Scan(src any) error {
	if src == nil {
		*m = Micros{}
		return nil
	}
	text, ok := src.(string)
	if !ok {
		return fmt.Errorf("read sum: %T is not text", src)
	}
	whole, fraction, _ := strings.Cut(text, ".")
	n, ok := new(big.Int).SetString(whole, 10)
	if !ok || strings.Trim(fraction, "0") != "" {
		return fmt.Errorf("read sum: %q is not a whole number of millionths", text)
	}
	*m = fromBig(n)
	return nil
}

// Schema implements huma.SchemaProvider.
func (Micros) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeNumber, Format: "double", Description: "Exact decimal with up to 6 places", Examples: []any{129.95}}
}
