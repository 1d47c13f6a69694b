package stream_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
)

func TestOnlyIdleConsumersWithNothingPendingAreRemoved(t *testing.T) {
	t.Parallel()
	g := open(t)
	fixture.Add(t, g.Client, g.Key, fixture.Series(0, 3)...)
	done := deliver(t, g, g.Name, "done", 1)
	require.NoError(t, g.Ack(t.Context(), done))
	left := deliver(t, g, g.Name, "left", 1)

	const idle = 200 * time.Millisecond
	names := func() (list []string) {
		consumers, err := g.Client.XInfoConsumers(t.Context(), g.Key, g.Name).Result()
		require.NoError(t, err)
		for _, c := range consumers {
			list = append(list, c.Name)
		}
		return list
	}
	removed, err := g.Forget(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Empty(t, removed)

	require.Eventually(t, func() bool { // once it is idle for long enough
		removed, err = g.Forget(t.Context(), idle)
		return err == nil && len(removed) > 0
	}, fixture.Patience, 10*time.Millisecond)
	require.Equal(t, []string{"done"}, removed)
	require.Equal(t, []string{"left"}, names())
	require.EqualValues(t, 1, measure(t, g).Pending, "no entry is thrown away")

	// It comes back, and is a consumer like any other.
	deliver(t, g, g.Name, "done", 1)
	require.ElementsMatch(t, []string{"done", "left"}, names())
	require.NoError(t, g.Ack(t.Context(), left))
}
