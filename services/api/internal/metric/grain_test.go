package metric

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/api/internal/span"
)

func TestPartsCoverTheSpanOnceWithTheCoarsestGrains(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 2000 {
		s := span.Span{From: start.Add(time.Duration(rand.N(5000)) * time.Minute)}
		s.To = s.From.Add(time.Duration(1+rand.N(6000)) * time.Minute)
		at := s.From
		for i, p := range parts(s, 24*time.Hour) {
			require.True(t, p.From.Equal(at), "part %d of %v", i, s)
			require.True(t, p.From.Before(p.To))
			require.True(t, p.From.Truncate(p.size).Equal(p.From) && p.To.Truncate(p.size).Equal(p.To))
			if p.size < 24*time.Hour { // a finer part never holds a whole coarser bucket
				coarser := map[time.Duration]time.Duration{time.Minute: time.Hour, time.Hour: 24 * time.Hour}[p.size]
				require.False(t, span.Ceil(p.From, coarser).Before(p.To.Truncate(coarser)))
			}
			at = p.To
		}
		require.True(t, at.Equal(s.To))
		require.LessOrEqual(t, len(parts(s, 24*time.Hour)), 5)
	}
}

func TestPartsAreNoCoarserThanTheInterval(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := span.Span{From: start, To: start.AddDate(0, 0, 3)}
	for _, largest := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		parts := parts(s, largest)
		require.Len(t, parts, 1)
		require.Equal(t, largest, parts[0].size)
	}
}
