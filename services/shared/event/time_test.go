package event

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzTime holds parseTime to time.Parse.
func FuzzTime(f *testing.F) {
	for _, s := range []string{
		"2026-01-02T15:04:05Z", "2026-01-02T15:04:05.1Z", "2026-01-02T15:04:05.123456Z", "2026-01-02T15:04:05.1234567Z",
		"2026-01-02T15:04:05.123456789Z", "2026-01-02T15:04:05.Z", "2026-01-02T15:04:05,123Z", "2026-01-02T15:04:05+02:00",
		"2026-02-29T00:00:00Z", "2028-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
		"2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z", "2026-12-31T23:59:59.999999Z",
		"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-01-02t15:04:05z", "2026-01-02 15:04:05Z", "-026-01-02T15:04:05Z", "", "Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := time.Parse(time.RFC3339Nano, s)
		got, ok := parseTime(s)
		require.Equal(t, err == nil, ok)
		if ok {
			require.Equal(t, want.UTC().Truncate(time.Microsecond), got)
		}
	})
}
