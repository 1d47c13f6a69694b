package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/redisclient"
)

func TestPartsBeginWithAShortAppendOnlyFile(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	queue, err := redisclient.New(redisclient.Config{URL: box.RedisURL})
	require.NoError(t, err)
	defer queue.Close()
	rewrites := func() string {
		stats, err := queue.Info(t.Context(), "persistence").Result()
		require.NoError(t, err)
		_, rest, found := strings.Cut(stats, "aof_rewrites:")
		require.True(t, found, stats)
		n, _, _ := strings.Cut(rest, "\r\n")
		return n
	}
	before := rewrites()
	require.NoError(t, shorten(t.Context(), queue))
	require.NotEqual(t, before, rewrites())
	require.NoError(t, checkpoint(t.Context(), box.PostgresURL))
}
