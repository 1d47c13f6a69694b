package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/bench/internal/report"
	"weir/e2e/harness"
	"weir/services/shared/redisclient"
)

// What others read of a drain's report is where they look for it.
func TestDrainComparesWithItsParts(t *testing.T) {
	t.Parallel()
	dir, out := t.TempDir(), &bytes.Buffer{}
	c := common{json: filepath.Join(dir, "drain.json"), html: filepath.Join(dir, "drain.html")}
	code := run(t.Context(), []string{"drain", "-events", "20000", "-runs", "1", "-json", c.json, "-html", c.html}, out, out)
	require.Zero(t, code, out)
	require.Equal(t, report.Valid, outcome(t, c, out).Verdict)
	text, err := os.ReadFile(c.json)
	require.NoError(t, err)
	var keys map[string]any
	require.NoError(t, json.Unmarshal(text, &keys))
	for _, name := range []string{"events_per_second", "raw_copy_events_per_second", "ratio_to_raw_copy", "consumer_max_rss_bytes"} {
		require.Positive(t, keys[name], name)
	}
	for _, name := range []string{"lost", "duplicated"} {
		require.Equal(t, 0., keys[name], name)
	}
}

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
