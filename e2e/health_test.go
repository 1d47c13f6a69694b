package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHealthCommandTellsWhetherTheServiceLives is what a container's health check runs.
func TestHealthCommandTellsWhetherTheServiceLives(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	p := run(t, box, "weir-ingestion", "BIND_HOST=127.0.0.1")
	ask := func() (string, error) {
		_, port, _ := strings.Cut(strings.TrimPrefix(p.URL, "http://"), ":")
		c := exec.Command(filepath.Join(string(binaries(t)), "weir-ingestion"), "health")
		c.Env = []string{"BIND_HOST=127.0.0.1", "INGESTION_PORT=" + port}
		for k, v := range environment(box) {
			if k != "INGESTION_PORT" {
				c.Env = append(c.Env, k+"="+v)
			}
		}
		out, err := c.CombinedOutput()
		return string(out), err
	}
	said, err := ask()
	require.NoError(t, err, said)
	require.Equal(t, "alive\n", said)
	stop(t, p)
	said, err = ask()
	require.Error(t, err)
	require.Contains(t, said, "ask for health")
}
