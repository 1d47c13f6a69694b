package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/loadgen"
)

// generateCommand runs `weir-ingestion generate` to its end and returns what it knows
// must be stored.
func generateCommand(t *testing.T, box *harness.Sandbox, args ...string) (totals loadgen.Totals, said string) {
	t.Helper()
	oracle := filepath.Join(t.TempDir(), "oracle.json")
	c := exec.CommandContext(t.Context(), filepath.Join(string(binaries(t)), "weir-ingestion"), append([]string{"generate", "--oracle", oracle}, args...)...)
	c.Env = os.Environ()
	for k, v := range environment(box) {
		c.Env = append(c.Env, k+"="+v)
	}
	var out, diagnostics bytes.Buffer
	c.Stdout, c.Stderr = &out, &diagnostics
	require.NoError(t, c.Run(), diagnostics.String())
	require.Empty(t, out.String())
	text, err := os.ReadFile(oracle)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &totals))
	return totals, diagnostics.String()
}

// TestGenerateFillsThePipelineAndKnowsWhatIsStored sends the same profile on both ways
// in, while little may wait: it holds back.
func TestGenerateFillsThePipelineAndKnowsWhatIsStored(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)
	run(t, box, "weir-consumer", "TRIM_INTERVAL=200ms")
	ingestion := run(t, box, "weir-ingestion", "BACKPRESSURE_HIGH_EVENTS=3000", "BACKPRESSURE_LOW_EVENTS=1000")

	stream, _ := generateCommand(t, box, "--to", "stream", "--profile", "mobile-app", "--fast", "--count", "8000", "--seed", "1")
	http, said := generateCommand(t, box, "--to", "http", "--url", ingestion.URL, "--key", "by-http", "--fast", "--count", "8000", "--seed", "2")
	require.Contains(t, said, "accepted")
	reach(t, pool, stream.Stored, `SELECT count(*) FROM events WHERE source = 'mobile-app'`)
	reach(t, pool, http.Stored, `SELECT count(*) FROM events WHERE source = 'by-http'`)
	drained(t, box)
	require.Equal(t, stream.Stored+http.Stored, number(t, pool, `SELECT count(*) FROM events`))
	require.Equal(t, stream.Items.Malformed, number(t, pool, `SELECT count(*) FROM dead_letters`), "over HTTP they are rejected instead")
	require.Equal(t, stream.Value+http.Value, number(t, pool, `SELECT (coalesce(sum(value), 0) * 1000000)::bigint FROM events`))
	rollupsEqualRaw(t, pool)
}
