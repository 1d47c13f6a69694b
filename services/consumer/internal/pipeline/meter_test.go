package pipeline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheRateIsTheMeanOfTheLastWholeSeconds(t *testing.T) {
	t.Parallel()
	var m meter
	at := time.Unix(1_000_000, 0)
	require.Zero(t, m.perSecond(at))
	for range 30 { // 30 s at 200/s
		m.add(at, 150)
		m.add(at.Add(999*time.Millisecond), 50)
		at = at.Add(time.Second)
	}
	m.add(at, 1_000_000) // this second is not over
	require.InDelta(t, 200, m.perSecond(at), 0.001)
	require.InDelta(t, 160, m.perSecond(at.Add(2*time.Second))-100_000, 0.001)
	require.Zero(t, m.perSecond(at.Add(time.Minute)))
}
