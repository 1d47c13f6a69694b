package metric

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/api/internal/span"
)

func TestTheYearBeforeHasTheSameDatesAlsoAroundALeapDay(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		parsed, err := time.Parse("2006-01-02 15", s)
		require.NoError(t, err)
		return parsed
	}
	for _, c := range []struct{ from, to, wantFrom, wantTo string }{
		{"2025-06-01 00", "2025-07-01 00", "2024-06-01 00", "2024-07-01 00"},
		{"2025-02-01 00", "2025-03-01 00", "2024-02-01 00", "2024-03-01 00"},
		{"2024-02-01 00", "2024-03-01 00", "2023-02-01 00", "2023-03-01 00"},
		{"2024-02-28 00", "2024-02-29 00", "2023-02-28 00", "2023-03-01 00"},
		{"2024-02-28 12", "2024-02-29 06", "2023-02-28 12", "2023-03-01 06"},
		{"2024-02-29 00", "2024-03-01 00", "2023-02-28 00", "2023-03-01 00"},
		{"2024-02-29 06", "2024-02-29 12", "2023-02-28 06", "2023-02-28 12"},
		{"2024-02-29 12", "2024-03-01 06", "2023-02-28 12", "2023-03-01 06"},
		{"2024-02-29 00", "2024-04-01 00", "2023-02-28 00", "2023-04-01 00"},
		{"2024-02-29 06", "2028-02-29 12", "2023-02-28 06", "2027-03-01 12"},
	} {
		got := yearBefore(span.Span{From: at(c.from), To: at(c.to)})
		require.Equal(t, span.Span{From: at(c.wantFrom), To: at(c.wantTo)}, got, "%s to %s", c.from, c.to)
	}
}
