package metric

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPartsCoverTheSpanOnceWithTheCoarsestGrains(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 2000 {
		s := span{from: start.Add(time.Duration(rand.N(5000)) * time.Minute)}
		s.to = s.from.Add(time.Duration(1+rand.N(6000)) * time.Minute)
		at := s.from
		for i, p := range s.parts(24 * time.Hour) {
			require.True(t, p.from.Equal(at), "part %d of %v", i, s)
			require.True(t, p.from.Before(p.to))
			require.True(t, p.from.Truncate(p.size).Equal(p.from) && p.to.Truncate(p.size).Equal(p.to))
			if p.size < 24*time.Hour { // a finer part never holds a whole coarser bucket
				coarser := map[time.Duration]time.Duration{time.Minute: time.Hour, time.Hour: 24 * time.Hour}[p.size]
				require.False(t, ceil(p.from, coarser).Before(p.to.Truncate(coarser)))
			}
			at = p.to
		}
		require.True(t, at.Equal(s.to))
		require.LessOrEqual(t, len(s.parts(24*time.Hour)), 5)
	}
}

func TestPartsAreNoCoarserThanTheInterval(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := span{start, start.AddDate(0, 0, 3)}
	for largest, view := range map[time.Duration]string{time.Minute: "minutes", time.Hour: "hours", 24 * time.Hour: "days"} {
		parts := s.parts(largest)
		require.Len(t, parts, 1)
		require.Equal(t, view, parts[0].view)
	}
}
