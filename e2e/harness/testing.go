package harness

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// shared is the test binary's one set of servers, started by whoever asks first.
var shared struct {
	once    sync.Once
	servers *Servers
	err     error
}

// Main runs a package's tests and closes the shared servers. A run that passed fails
// when goroutines are left, but for those that are excused. Use it as:
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
func Main(m *testing.M, excused ...goleak.Option) int {
	code := m.Run()
	if shared.servers != nil {
		if err := shared.servers.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close servers:", err)
			code = max(code, 1)
		}
	}
	if code == 0 {
		if err := goleak.Find(excused...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// Shared returns the servers that all tests of the binary share, and starts them on
// first use. Its package needs Main. A test that faults servers uses Start instead.
func Shared(t testing.TB) *Servers {
	t.Helper()
	shared.once.Do(func() {
		// As long as the first build of the images may take.
		ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
		defer cancel()
		shared.servers, shared.err = Start(ctx, Options{Log: logToStderr})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.servers
}

// NewSandbox returns a sandbox on the shared servers that ends with the test.
func NewSandbox(t testing.TB) *Sandbox {
	t.Helper()
	servers := Shared(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sandbox, err := servers.Sandbox(ctx, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := sandbox.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return sandbox
}

// Private starts servers of the test's own, which it may stop and kill. They are
// started even where others are given by URL: those are not ours to fault.
func Private(t testing.TB) *Servers {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	servers, err := Start(ctx, Options{Log: logToStderr, Getenv: func(name string) string {
		if name == redisProduct.urlVar || name == postgresProduct.urlVar {
			return ""
		}
		return os.Getenv(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := servers.Close(); err != nil {
			t.Error(err)
		}
	})
	return servers
}

// NewRedisCluster starts a Redis Cluster that ends with the test.
func NewRedisCluster(t testing.TB) *RedisCluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cluster, err := StartRedisCluster(ctx, Options{Log: logToStderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

// Not t.Logf: a build of 45 s should show while it goes on.
func logToStderr(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "harness: "+format+"\n", args...)
}
