package meter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/shared/meter"
)

func TestTheRateIsTheMeanOfTheLastWholeSeconds(t *testing.T) {
	t.Parallel()
	var m meter.Meter
	at := time.Unix(1_000_000, 0)
	require.Zero(t, m.PerSecond(at))
	for range 30 { // 30 s at 200/s
		m.Add(at, 150)
		m.Add(at.Add(999*time.Millisecond), 50)
		at = at.Add(time.Second)
	}
	m.Add(at, 1_000_000) // this second is not over
	require.InDelta(t, 200, m.PerSecond(at), 0.001)
	require.InDelta(t, 160, m.PerSecond(at.Add(2*time.Second))-100_000, 0.001)
	require.Zero(t, m.PerSecond(at.Add(time.Minute)))
}
