package harness

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Chromium returns the path of a Chromium or Chrome, installed by apt-get when that can
// be done without asking anybody. The test fails when there is none.
func Chromium(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	path, err := findChromium(ctx, Options{Log: logToStderr}.withDefaults())
	if err != nil {
		t.Fatalf("The dashboard is tested in a browser: install Debian's package chromium, or put chromium or google-chrome into PATH (%v).", err)
	}
	return path
}

func findChromium(ctx context.Context, o Options) (string, error) {
	return aptInstall(ctx, o, func() (string, error) {
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
			if path, err := lookPath(o.Getenv, name); err == nil {
				return path, nil
			}
		}
		return "", errors.New("no chromium and no google-chrome in PATH")
	}, "chromium", "fonts-dejavu-core")
}
