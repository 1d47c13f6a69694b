package harness

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	waiting := make(chan struct{}, 1)
	o := Options{Log: func(string, ...any) { waiting <- struct{}{} }}.withDefaults()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, "tests", o)
	require.NoError(t, err)

	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = lock(short, path, "tests", o)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	<-waiting

	entered := make(chan error, 1)
	go func() {
		unlock, err := lock(t.Context(), path, "tests", o)
		if err == nil {
			unlock()
		}
		entered <- err
	}()
	<-waiting
	unlock()
	require.NoError(t, <-entered)
}
