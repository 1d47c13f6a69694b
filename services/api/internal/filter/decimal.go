package filter

import (
	"cmp"
	"strconv"
	"strings"
)

// decimal is a JSON number of any size, ready to be compared exactly: sign times
// 0.digits times ten to the power of exponent. Zero has no digits.
type decimal struct {
	sign     int
	digits   string // neither first nor last is 0
	exponent int
}

// parseDecimal reads a JSON number. Nothing is written out in full: 1e999999999 costs
// as little as 1.
func parseDecimal(s string) decimal {
	d := decimal{sign: 1}
	if strings.HasPrefix(s, "-") {
		d.sign, s = -1, s[1:]
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		d.exponent, _ = strconv.Atoi(s[i+1:]) // at its limits when out of range
		d.exponent = max(-1<<30, min(d.exponent, 1<<30))
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	all := whole + fraction
	d.digits = strings.TrimLeft(all, "0")
	d.exponent += len(whole) - (len(all) - len(d.digits))
	if d.digits = strings.TrimRight(d.digits, "0"); d.digits == "" {
		return decimal{}
	}
	return d
}

func (d decimal) compare(o decimal) int {
	if d.sign != o.sign || d.sign == 0 {
		return cmp.Compare(d.sign, o.sign)
	}
	return d.sign * cmp.Or(cmp.Compare(d.exponent, o.exponent), cmp.Compare(d.digits, o.digits))
}
