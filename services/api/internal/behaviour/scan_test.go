package behaviour

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSlicesCoverTheStretchOnceAndInOrder(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 500 {
		from := day.Add(time.Duration(rand.N(7200)) * time.Second)
		to := from.Add(time.Duration(1+rand.N(200_000)) * time.Second)
		var hours []piece
		for at := from.Truncate(time.Hour); at.Before(to); at = at.Add(time.Hour) {
			if rand.N(4) > 0 {
				hours = append(hours, piece{at, 60, rand.N[int64](1000) << rand.N(4), 0})
			}
		}
		at := from
		for _, s := range cut(from, to, hours, 500) {
			require.Equal(t, at, s.from)
			require.True(t, s.from.Before(s.to))
			at = s.to
		}
		require.Equal(t, to, at)
	}
	require.Equal(t, []slice{{day, day.Add(2 * time.Hour)}}, cut(day, day.Add(2*time.Hour), nil, 500))
	half := day.Add(30 * time.Minute)
	require.Equal(t, []slice{{day, half}, {half, day.Add(time.Hour)}, {day.Add(time.Hour), day.Add(2 * time.Hour)}},
		cut(day, day.Add(2*time.Hour), []piece{{day, 60, 1000, 0}, {day.Add(time.Hour), 60, 300, 0}}, 500))
}
