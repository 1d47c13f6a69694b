package metric

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/api/internal/span"
)

func TestMostOfItsChunksIsReadBySeveralProcessesAndLessByOne(t *testing.T) {
	t.Parallel()
	midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	at := func(hours float64) time.Time { return midnight.Add(time.Duration(hours * float64(time.Hour))) }
	for _, c := range []struct {
		from, to, now float64 // hours after midnight
		most          bool
	}{
		{0, 24, 100, true},
		{0, 168, 1000, true},
		{-18, 6, 6.1, true},   // the last day
		{-18, 6, 100, true},   // half of two days
		{-15, 6, 100, false},  // less than that
		{1, 2, 100, false},    // an hour
		{23, 24, 24, false},   // the last hour
		{0, 24, 1, true},      // today, of which there is an hour
		{-2, 22, 23, true},    // today somewhere east
		{-1, 23, 0, false},    // the same when it is an hour old
		{30, 48, 25, false},   // to come
		{-100, -99, 0, false}, // long ago
	} {
		q := question{Span: span.Span{From: at(c.from), To: at(c.to)}}
		require.Equal(t, c.most, q.most(at(c.now)), c)
	}
}
