package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// lockPath is where the lock of this name lies, for this user.
func lockPath(name string) string {
	return filepath.Join(os.TempDir(), name+"-"+strconv.Itoa(os.Getuid())+".lock")
}

// lock lets one goroutine of one process have the file at a time; `go test ./...` runs
// many. Doing is what who has it does, for those that wait.
func lock(ctx context.Context, path, doing string, o Options) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	for waits := 0; ; waits++ {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		if waits == 0 {
			o.Log("waiting for another that %s", doing)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for another that %s: %w", doing, ctx.Err()), file.Close())
		case <-time.After(250 * time.Millisecond):
		}
	}
}
