package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Promtool returns the path of promtool. Where it is not in PATH it is taken out of
// Debian's package prometheus, which is not installed, as that would start a server. The
// test fails when there is none.
func Promtool(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	path, err := findPromtool(ctx, Options{Log: logToStderr}.withDefaults())
	if err != nil {
		t.Fatalf("The alert rules are tested with promtool: put it into PATH, or install Debian's package prometheus (%v).", err)
	}
	return path
}

func findPromtool(ctx context.Context, o Options) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	kept := filepath.Join(cache, "weir", "promtool")
	find := func() (string, error) {
		if path, err := lookPath(o.Getenv, "promtool"); err == nil {
			return path, nil
		}
		_, err := os.Stat(kept)
		return kept, err
	}
	return aptGet(ctx, o, find, "downloading promtool", func(apt string) error {
		if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
			return err
		}
		dir, err := os.MkdirTemp(filepath.Dir(kept), "download-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		fetch := exec.CommandContext(ctx, "sh", "-ec", `"$0" download -q prometheus; dpkg-deb -x prometheus_*.deb .`, apt)
		fetch.Dir = dir
		if out, err := fetch.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, tail(out))
		}
		return os.Rename(filepath.Join(dir, "usr", "bin", "promtool"), kept)
	})
}
