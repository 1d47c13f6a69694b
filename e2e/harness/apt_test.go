package harness

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Two tests that want a browser at once must not both run apt-get: one takes the
// archives of the other.
func TestWhatManyWantIsInstalledOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nset -e\n"+text), 0o700)) //nolint:gosec // it is run
	}
	script("sudo", `shift; exec "$@"`)
	script("apt-get", `[ "$1" = install ] || exit 0
echo "$*" >> `+dir+`/installs
touch `+dir+`/tool`)
	o := Options{Log: t.Logf, Getenv: func(name string) string {
		if name == "PATH" {
			return dir
		}
		return ""
	}}.withDefaults()
	find := func() (string, error) {
		path := filepath.Join(dir, "tool")
		_, err := os.Stat(path)
		return path, err
	}
	const many = 4
	errs := make(chan error, many)
	for range many {
		go func() {
			path, err := aptInstall(t.Context(), o, find, "tool", "library")
			if err == nil && path != filepath.Join(dir, "tool") {
				err = errors.New(path)
			}
			errs <- err
		}()
	}
	for range many {
		require.NoError(t, <-errs)
	}
	installs, err := os.ReadFile(filepath.Join(dir, "installs")) //nolint:gosec // ours
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(installs), "tool library\n"), string(installs))
}
