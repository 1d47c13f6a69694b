package rig

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/bench/internal/report"
)

func TestSlopeIsThatOfTheBestLine(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 2.0, Slope([]float64{0, 1, 2, 3}, []float64{5, 7, 9, 11}), 1e-9)
	require.InDelta(t, 0.0, Slope([]float64{0, 1, 2, 3}, []float64{1, -1, -1, 1}), 1e-9)
	require.Zero(t, Slope([]float64{1}, []float64{1}))
	require.Zero(t, Slope(nil, nil))
}

func TestLatenciesOfOtherProcessesAddUp(t *testing.T) {
	t.Parallel()
	a, b := NewLatency(), NewLatency()
	for i := range 100 {
		a.Record(time.Duration(i) * time.Millisecond)
		b.Record(time.Duration(i+100) * time.Millisecond)
	}
	a.Merge(b.Export())
	require.Equal(t, int64(200), a.Count())
	require.InEpsilon(t, 0.1, a.At(50), 0.01)
	require.InEpsilon(t, 0.199, a.At(100), 0.01)
	a.Record(-time.Second)
	a.Record(48 * time.Hour)
	require.InEpsilon(t, 3600, a.At(100), 0.01, "what is longer counts as an hour")
}

// A load may end before its first event is due.
func TestALoadWithoutEventsIsVerifiedAsNone(t *testing.T) {
	t.Parallel()
	c := report.Counts{}
	require.NoError(t, (&Rig{}).verifyLoad(t.Context(), loaded{Load: Load{Rate: 1}, seed: 1, start: time.Now()}, nil, &c))
	require.Zero(t, c)
}
