package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/consumer"
	"weir/services/shared/process"
)

// faultAt makes this test binary, started again, a consumer that comes to grief at a
// step of its flush: what is to happen and where, separated by a colon. The binary
// that is deployed knows nothing of it.
const faultAt = "WEIR_E2E_FAULT_AT"

// What may happen to it.
const (
	killed = "killed"
	frozen = "frozen" // SIGSTOP, the first time only
)

// consumeFaultily is what such a process does.
func consumeFaultily(fault string) (exitCode int) {
	what, where, _ := strings.Cut(fault, ":")
	self := syscall.Getpid()
	var once sync.Once
	return process.Main("weir-consumer", func(ctx context.Context, c consumer.Config) error {
		ready := make(chan struct{})
		c.Listening = func(string) { close(ready) }
		c.Step = func(s consumer.Step) {
			if string(s) != where {
				return
			}
			<-ready // whoever started it waits for that
			switch what {
			case killed:
				_ = syscall.Kill(self, syscall.SIGKILL)
				select {}
			case frozen:
				once.Do(func() {
					fmt.Println(frozen)
					_ = syscall.Kill(self, syscall.SIGSTOP)
				})
			}
		}
		return consumer.Run(ctx, c)
	})
}

// faulty is a consumer that comes to grief.
type faulty struct {
	*harness.Program
	out *output
}

// runFaulty starts one that ends with the test.
func runFaulty(t *testing.T, box *harness.Sandbox, what string, where consumer.Step, settings ...string) faulty {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p, out := launch(t, box, harness.Binaries(filepath.Dir(self)), filepath.Base(self), append(settings, faultAt+"="+what+":"+string(where))...)
	return faulty{p, out}
}

// dies waits until the consumer has been killed.
func (f faulty) dies(t *testing.T) {
	t.Helper()
	select {
	case <-f.Exited():
		require.Equal(t, -1, f.ExitCode(), "it was killed, it did not end")
	case <-time.After(patience):
		t.Fatal("the consumer never came to the step at which it is killed")
	}
}

// freezes waits until the consumer is frozen.
func (f faulty) freezes(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return f.out.says(frozen + "\n") }, patience, 5*time.Millisecond,
		"the consumer never came to the step at which it freezes")
}

// thaws lets it go on.
func (f faulty) thaws(t *testing.T) {
	t.Helper()
	require.NoError(t, f.Signal(syscall.SIGCONT))
}

// output keeps what a program said last, line by line.
type output struct {
	mu    sync.Mutex
	lines []string
}

func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines[max(0, len(o.lines)-200):], string(line))
	return len(line), nil
}

// says reports whether some line contains text.
func (o *output) says(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, line := range o.lines {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines, "")
}
