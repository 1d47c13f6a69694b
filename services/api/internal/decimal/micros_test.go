package decimal_test

import (
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

func TestWhatIsNoSumIsRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range []any{"", "x", "1.5", 7, "NaN"} {
		require.Error(t, new(decimal.Micros).Scan(bad), "%v", bad)
	}
}
