package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

// transcript is all that a program says, line by line.
type transcript struct {
	mu   sync.Mutex
	said []string
}

func (l *transcript) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

func (l *transcript) lines() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.said {
		if line != "" { // the end of a program's output
			lines = append(lines, line)
		}
	}
	return lines
}

func (l *transcript) String() string { return strings.Join(l.lines(), "\n") }

// startProgram starts a service as a process that ends with the test, and writes down
// all that it says.
func startProgram(t *testing.T, box *harness.Sandbox, name string, said *transcript, settings ...string) *harness.Program {
	t.Helper()
	var env []string
	for k, v := range environment(box) {
		env = append(env, k+"="+v)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := binaries(t).Start(ctx, name, append(env, settings...), said)
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	hold(t, p)
	return p
}

// attempt runs a command that is not expected to come up until it says something, ends
// it, and returns all that it said.
func attempt(t *testing.T, box *harness.Sandbox, name, until string, settings ...string) string {
	t.Helper()
	var env []string
	for k, v := range environment(box) {
		env = append(env, k+"="+v)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	from, said, ended := binaries(t), &transcript{}, make(chan struct{})
	go func() {
		defer close(ended)
		if p, err := from.Start(ctx, name, append(env, settings...), said); err == nil {
			p.Kill()
		}
	}()
	require.Eventually(t, func() bool { return strings.Contains(said.String(), until) }, patience, 10*time.Millisecond, "%s never said %q", name, until)
	cancel()
	<-ended
	return said.String()
}
