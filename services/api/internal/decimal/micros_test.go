package decimal_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/services/api/internal/decimal"
)

func TestSumsAreShownExactlyAtAnySize(t *testing.T) {
	t.Parallel()
	for micros, want := range map[string]string{
		"0":                        "0",
		"300000.000":               "0.3",
		"-1":                       "-0.000001",
		"-1500000":                 "-1.5",
		"9223372036854775807":      "9223372036854.775807",
		"9223372036854775808":      "9223372036854.775808",
		"-100000000000000000000":   "-100000000000000",
		"-100000000000000000010":   "-100000000000000.00001",
		"123456789012345678901230": "123456789012345678.90123",
	} {
		var m decimal.Micros
		require.NoError(t, m.Scan(micros))
		require.Equal(t, want, m.String())
	}
}

func TestZeroValueIsZero(t *testing.T) {
	t.Parallel()
	var m decimal.Micros
	require.Equal(t, "0", m.String())
	require.True(t, m.Add(decimal.FromInt64(5)).Sub(decimal.FromInt64(5)).Equal(m))
	require.NoError(t, m.Scan(nil))
}

func TestSumsBeyond64BitsAreExact(t *testing.T) {
	t.Parallel()
	for _, a := range []int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64} {
		for _, b := range []int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64} {
			x, y := big.NewInt(a), big.NewInt(b)
			var sum, rest decimal.Micros
			require.NoError(t, sum.Scan(new(big.Int).Add(x, y).String()))
			require.NoError(t, rest.Scan(new(big.Int).Sub(x, y).String()))
			m, n := decimal.FromInt64(a), decimal.FromInt64(b)
			require.Equal(t, sum.String(), m.Add(n).String(), "%d + %d", a, b)
			require.Equal(t, rest.String(), m.Sub(n).String(), "%d - %d", a, b)
			require.True(t, m.Add(n).Sub(n).Equal(m), "%d + %d - %d", a, b, b)
		}
	}
}

func TestWhatIsNoSumIsRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range []any{"", "x", "1.5", 7, "NaN"} {
		require.Error(t, new(decimal.Micros).Scan(bad), "%v", bad)
	}
}
