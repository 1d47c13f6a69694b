package harness

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOneBuildAtATime(t *testing.T) {
	t.Parallel()
	waiting := make(chan struct{}, 1)
	o := Options{Log: func(string, ...any) { waiting <- struct{}{} }}.withDefaults()
	lock := filepath.Join(t.TempDir(), "lock") // a real build may hold the real one
	unlock, err := lockBuild(t.Context(), lock, o)
	require.NoError(t, err)

	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = lockBuild(short, lock, o)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	<-waiting

	entered := make(chan error, 1)
	go func() {
		unlock, err := lockBuild(t.Context(), lock, o)
		if err == nil {
			unlock()
		}
		entered <- err
	}()
	<-waiting
	unlock()
	require.NoError(t, <-entered)
}

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
