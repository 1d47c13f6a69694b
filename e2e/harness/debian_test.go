package harness

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFailedBuildLeavesNoImage(t *testing.T) {
	t.Parallel()
	docker, err := connectDocker(t.Context(), Options{}.withDefaults())
	if err != nil {
		t.Skipf("this machine has no Docker to import into: %v", err)
	}
	defer docker.Close()
	const ref = "weir-harness-test:broken"
	fails := exec.Command("sh", "-c", "tar -c -C / etc/passwd | head -c 700; echo no space left >&2; exit 3")
	err = importTar(t.Context(), docker, ref, fails)
	require.ErrorContains(t, err, "exit status 3: no space left")
	present, err := imagePresent(t.Context(), docker, ref)
	require.NoError(t, err)
	require.False(t, present)
}
