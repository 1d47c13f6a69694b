package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/redisclient"
)

// Nobody reads the stream, as a consumer whose database is away: it tries again for ever.
func TestADrainThatDoesNotGoOnIsGivenUp(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	queue, err := redisclient.New(redisclient.Config{URL: box.RedisURL})
	require.NoError(t, err)
	defer queue.Close()
	require.NoError(t, fill(t.Context(), queue, box.StreamName, []string{"one", "two", "three"}))
	require.NoError(t, queue.XGroupCreate(t.Context(), box.StreamName, "weir", "0").Err())
	c := drainer{said: func() string { return "no space left on device" }}
	err = waitDrained(t.Context(), queue, box.StreamName, c, 100*time.Millisecond)
	require.ErrorContains(t, err, "3 entries are left")
	require.ErrorContains(t, err, "no space left on device")

	ended := make(chan struct{})
	close(ended)
	c.ended = ended
	require.ErrorContains(t, waitDrained(t.Context(), queue, box.StreamName, c, time.Hour), "no space left on device")
}
