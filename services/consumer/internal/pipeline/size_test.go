package pipeline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// settle simulates a server that takes so long for so many events.
func settle(s *size, backlog bool, took func(events int) time.Duration) (sizes []int) {
	for range 60 {
		n := s.events()
		if !backlog {
			n /= 10
		}
		sizes = append(sizes, s.learn(n, took(n), backlog))
	}
	return sizes
}

func TestBatchesShrinkWithLatencyAndGrowWithBacklogWithinTheirBounds(t *testing.T) {
	t.Parallel()
	s := newSize(100, 10_000, time.Second)
	each := func(per time.Duration) func(int) time.Duration {
		return func(events int) time.Duration { return time.Duration(events) * per }
	}
	fast, slow, stuck := each(10*time.Microsecond), each(500*time.Microsecond), each(time.Second)

	settle(s, true, fast)
	require.Equal(t, 10_000, s.events(), "a fast server gets the largest")
	for _, n := range settle(s, true, slow)[30:] {
		require.InDelta(t, 2000, n, 1000, "batches that take about a second")
	}
	settle(s, true, stuck)
	require.Equal(t, 100, s.events(), "never below the least")
	settle(s, false, fast)
	require.Equal(t, 100, s.events(), "without a backlog there is nothing to learn")
	settle(s, true, fast)
	require.Equal(t, 10_000, s.events(), "it recovers")
}

func TestOneSlowTransactionHalvesTheBatchAtMost(t *testing.T) {
	t.Parallel()
	s := newSize(100, 10_000, time.Second)
	require.Equal(t, 5000, s.learn(10_000, time.Minute, true))
}

func TestBatchesWaitLongerWhileTransactionsTakeLong(t *testing.T) {
	t.Parallel()
	const most = 250 * time.Millisecond
	require.Equal(t, 50*time.Millisecond, wait(most, 0, 1000))
	require.Equal(t, 50*time.Millisecond, wait(most, 5*time.Millisecond, 1000))
	require.Equal(t, 120*time.Millisecond, wait(most, 40*time.Millisecond, 1000))
	require.Equal(t, most, wait(most, time.Minute, 1000))
	require.Equal(t, 50*time.Millisecond, wait(most, 40*time.Millisecond, 10), "few events are not what took long")
	require.Zero(t, wait(0, time.Second, 1000))
}
