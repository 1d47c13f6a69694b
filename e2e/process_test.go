package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

// built are the services' binaries, built once for all tests.
var built = sync.OnceValues(func() (b harness.Binaries, err error) {
	if builtIn, err = os.MkdirTemp("", "weir-e2e-"); err != nil {
		return "", err
	}
	return harness.Build(context.Background(), builtIn)
})

// builtIn is their directory, removed at the end.
var builtIn string

func binaries(t *testing.T) harness.Binaries {
	t.Helper()
	b, err := built()
	require.NoError(t, err)
	return b
}

// run starts a service as a process that ends with the test.
func run(t *testing.T, box *harness.Sandbox, name string, settings ...string) *harness.Program {
	t.Helper()
	p, _ := runFrom(t, box, binaries(t), name, settings...)
	return p
}

// runFrom also gives what the program says, which is shown when the test fails.
func runFrom(t *testing.T, box *harness.Sandbox, from harness.Binaries, name string, settings ...string) (*harness.Program, *output) {
	t.Helper()
	p, out := launch(t, box, from, name, settings...)
	hold(t, p)
	return p, out
}

// launch does the same, but asks the program nothing: one that comes to grief may not answer.
func launch(t *testing.T, box *harness.Sandbox, from harness.Binaries, name string, settings ...string) (*harness.Program, *output) {
	t.Helper()
	out := &output{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s %v said:\n%s", name, settings, out)
		}
	})
	env := settings
	for k, v := range environment(box) {
		env = append([]string{k + "=" + v}, env...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := from.Start(ctx, name, env, out)
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return p, out
}

// hold has the service's contract judged; but for TLS, where it answers only whom it shall.
func hold(t *testing.T, p *harness.Program) {
	t.Helper()
	if strings.HasPrefix(p.URL, "http://") {
		require.NoError(t, contracts.Hold(t.Context(), p.URL))
		t.Cleanup(func() { contracts.Release(p.URL) })
	}
}

func stop(t *testing.T, p *harness.Program) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, p.Stop(ctx))
}

// TestSIGTERMInTheMiddleOfTrafficLosesNothing restarts both ingestion and consumer
// again and again while a client posts. What was answered with 202 must be stored,
// once.
func TestSIGTERMInTheMiddleOfTrafficLosesNothing(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)

	var address atomic.Value
	boot := func() *harness.Program {
		p := run(t, box, "weir-ingestion")
		address.Store(p.URL)
		return p
	}
	ingestion := boot()
	consumer := run(t, box, "weir-consumer", "BATCH_MAX_WAIT=5ms")

	// A client that repeats what was not answered with 202, with the same ids.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var accepted atomic.Int64
	var client sync.WaitGroup
	client.Go(func() {
		at := time.Now().UTC().Format(time.RFC3339Nano)
		for i := 0; ctx.Err() == nil; {
			var body bytes.Buffer
			for j := range 50 {
				fmt.Fprintf(&body, `{"id":"m-%d","time":%q,"type":"click","user_id":"u%d"}`+"\n", i+j, at, j)
			}
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.Load().(string)+"/v1/events", &body)
			if err != nil {
				continue
			}
			request.Header.Set("Content-Type", "application/x-ndjson")
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				continue // restarting: again
			}
			response.Body.Close()
			if response.StatusCode == http.StatusAccepted {
				accepted.Add(50)
				i += 50
			}
		}
	})
	for round := range 3 {
		goal := accepted.Load() + 500
		require.Eventually(t, func() bool { return accepted.Load() >= goal }, patience, 5*time.Millisecond)
		if round%2 == 0 {
			stop(t, consumer)
			consumer = run(t, box, "weir-consumer", "BATCH_MAX_WAIT=5ms")
		} else {
			stop(t, ingestion)
			ingestion = boot()
		}
	}
	goal := accepted.Load() + 500
	require.Eventually(t, func() bool { return accepted.Load() >= goal }, patience, 5*time.Millisecond)
	cancel()
	client.Wait()

	// The request that was cancelled may or may not have been published.
	want := accepted.Load()
	require.Eventually(t, func() bool { return number(t, pool, `SELECT count(*) FROM events`) >= want }, patience, 20*time.Millisecond)
	drained(t, box)
	stop(t, ingestion)
	stop(t, consumer)
	require.LessOrEqual(t, number(t, pool, `SELECT count(*) FROM events`), want+50)
	require.Equal(t, number(t, pool, `SELECT count(*) FROM events`), number(t, pool, `SELECT count(DISTINCT id) FROM events`))
	require.Zero(t, number(t, pool, `SELECT count(*) FROM dead_letters`))
	rollupsEqualRaw(t, pool)
}

// drained waits until the group has acknowledged every entry.
func drained(t *testing.T, box *harness.Sandbox) {
	t.Helper()
	client := connect(t, box)
	require.Eventually(t, func() bool {
		groups, err := client.XInfoGroups(t.Context(), event.StreamKey(box.StreamName, 0, 1)).Result()
		return err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
	}, patience, 20*time.Millisecond)
}

func TestSIGTERMWhileGeneratingLeavesNothingPending(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)
	consumer := run(t, box, "weir-consumer")
	ingestion := run(t, box, "weir-ingestion", "GENERATOR_RATE=5000")
	require.Eventually(t, func() bool { return number(t, pool, `SELECT count(*) FROM events`) > 2000 }, patience, 20*time.Millisecond)
	stop(t, ingestion)
	drained(t, box)
	stop(t, consumer)
	rollupsEqualRaw(t, pool)
}

func TestMissingAndWrongConfigurationIsRefusedWithEveryFaultNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		env  []string
		says []string
	}{
		{"weir-api", []string{"REDIS_URL=", "POSTGRES_URL=mysql://secret@host", "API_PORT=eighty", "LOG_LEVEL=loud", "APP_ENV=production"},
			[]string{"REDIS_URL is required", "POSTGRES_URL must look like", "API_PORT must be a whole number", "LOG_LEVEL", "API_READ_KEYS is required when APP_ENV is production"}},
		{"weir-consumer", []string{"REDIS_URL=http://x", "POSTGRES_URL=", "POSTGRES_POOL_SIZE=0", "BATCH_MAX_WAIT=soon", "APP_ENV=staging", "CLAIM_MIN_IDLE=2s"},
			[]string{"REDIS_URL must look like", "POSTGRES_URL is required", "POSTGRES_POOL_SIZE must be at least 1", "BATCH_MAX_WAIT must be a duration", "APP_ENV must be one of", "CLAIM_MIN_IDLE must be above FLUSH_TIMEOUT"}},
		{"weir-consumer", []string{"REDIS_URL=redis://localhost", "POSTGRES_URL=postgres://localhost/x", "APP_ENV=production"},
			[]string{"ADMIN_KEYS is required when APP_ENV is production"}},
		{"weir-ingestion", []string{"REDIS_URL=", "INGESTION_WRITE_KEYS=secret", "GENERATOR_PROFILE=zoo", "APP_ENV=production"},
			[]string{"REDIS_URL is required", "INGESTION_WRITE_KEYS entry 1 must look like source=key", "GENERATOR_PROFILE must be one of"}},
		{"weir-ingestion", []string{"REDIS_URL=redis://localhost", "APP_ENV=production"},
			[]string{"INGESTION_WRITE_KEYS is required when APP_ENV is production"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			p, err := binaries(t).Start(t.Context(), c.name, c.env, &out)
			require.Error(t, err)
			require.Equal(t, 2, p.ExitCode())
			for _, line := range c.says {
				require.Contains(t, out.String(), line)
			}
			require.NotContains(t, out.String(), "secret", "values may be secrets")
			require.NotContains(t, out.String(), "Listening", "nothing may be started")
		})
	}
}

func TestSettingsOfTheUserDoNotReachTheServices(t *testing.T) {
	box := sandbox(t)
	binaries(t) // which needs the module
	t.Setenv("APP_ENV", "production")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".env"), []byte("API_READ_KEYS=secret\n"), 0o600))
	t.Chdir(dir)
	p := run(t, box, "weir-api")
	require.Equal(t, http.StatusOK, do(t, http.MethodGet, p.URL+"/v1/events", "", "").status)
}

func TestServicesRefuseASchemaThatIsBehind(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t) // not migrated
	for _, name := range []string{"weir-api", "weir-consumer"} {
		var env []string
		for k, v := range environment(box) {
			env = append(env, k+"="+v)
		}
		p, err := binaries(t).Start(t.Context(), name, env, io.Discard)
		require.ErrorContains(t, err, "make migrate")
		require.Equal(t, 1, p.ExitCode())
	}
}

func TestServicesSayThatTheyAreConnected(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	for name, servers := range map[string][]string{
		"weir-api": {"Redis", "PostgreSQL"}, "weir-consumer": {"Redis", "PostgreSQL"}, "weir-ingestion": {"Redis"},
	} {
		var env []string
		for k, v := range environment(box) {
			env = append(env, k+"="+v)
		}
		var out bytes.Buffer
		p, err := binaries(t).Start(t.Context(), name, env, &out)
		require.NoError(t, err)
		require.NoError(t, p.Signal(syscall.SIGINT))
		<-p.Exited()
		require.Zero(t, p.ExitCode(), out.String())
		for _, s := range servers {
			require.Contains(t, out.String(), s+" connected successfully.")
		}
		require.Contains(t, out.String(), "All database connections successful.")
		require.Equal(t, strings.Count(out.String(), "\n"), strings.Count(out.String(), `"service":"`+strings.TrimPrefix(name, "weir-")+`"`), "every line is JSON and names its service")
	}
}
