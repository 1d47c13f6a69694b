package behaviour

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTagsAreOfTheRightEvents: an event is found by its time and user, and what cannot be told
// apart is never guessed.
func TestTagsAreOfTheRightEvents(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	hour := func(i int, list ...act) *acts {
		at := start.Add(time.Duration(i) * time.Hour)
		return &acts{piece: piece{Start: at, Minutes: 60}, start: at.UnixMicro(), list: list}
	}
	list := []*acts{
		hour(0, act{after: 1, actor: 3}, act{after: 5, actor: 3}, act{after: 5, actor: 5}, act{after: 5, actor: 3}),
		hour(1),
		hour(2, act{after: 0, actor: 3}, act{after: 7, actor: 7}),
	}
	at := func(i int, after int64) int64 { return list[i].start + after }
	type bits = [][]uint16
	for name, c := range map[string]struct {
		found []sighting
		want  bits // nil when they are alike
	}{
		"none":                    {nil, bits{{0, 0, 0, 0}, {}, {0, 0}}},
		"one each":                {[]sighting{{at(0, 1), 3, 1}, {at(2, 7), 7, 4}, {at(2, 0), 3, 2}}, bits{{1, 0, 0, 0}, {}, {2, 4}}},
		"of two users":            {[]sighting{{at(0, 5), 5, 2}}, bits{{0, 0, 2, 0}, {}, {0, 0}}},
		"both of a user's":        {[]sighting{{at(0, 5), 3, 2}, {at(0, 5), 3, 2}}, bits{{0, 2, 0, 2}, {}, {0, 0}}},
		"one of a user's two":     {[]sighting{{at(0, 5), 3, 2}}, nil},
		"both, in different ways": {[]sighting{{at(0, 5), 3, 2}, {at(0, 5), 3, 1}}, nil},
		"one that is not there":   {[]sighting{{at(0, 6), 3, 2}}, nil},
		"one of another user":     {[]sighting{{at(2, 0), 9, 2}}, nil},
		"one after all pieces":    {[]sighting{{at(2, 0) + time.Hour.Microseconds(), 3, 2}}, nil},
	} {
		tags, err := tag(list, c.found)
		if c.want == nil {
			require.ErrorIs(t, err, errAlike, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.want, tags, name)
	}
}
