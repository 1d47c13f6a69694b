package consumer

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/consumer/internal/control"
	"weir/services/consumer/internal/fixture"
	"weir/services/shared/config"
)

// running is a consumer within this process.
type running struct {
	url  string
	stop func() // and wait until it has stopped, cleanly
	log  *journal
}

// start runs a consumer with small limits and little patience, until stop or the
// end of the test.
func start(t *testing.T, box *harness.Sandbox, change func(*Config)) *running {
	t.Helper()
	env := map[string]string{
		"REDIS_URL": box.RedisURL, "POSTGRES_URL": box.PostgresURL, "STREAM_NAME": box.StreamName, "POSTGRES_POOL_SIZE": "4",
		"CONSUMER_PORT": "0", "BIND_HOST": "127.0.0.1", "CONSUMER_NAME": "a", "CONSUMER_BLOCK": "20ms", "CONSUMER_READ_SIZE": "100",
		"BATCH_MAX_EVENTS": "300", "BATCH_MAX_WAIT": "5ms", "FLUSH_TIMEOUT": "1s", "CLAIM_MIN_IDLE": "2s", "CLAIM_INTERVAL": "100ms",
		"TRIM_INTERVAL": "50ms", "ROLLUP_FOLD_INTERVAL": "50ms",
	}
	var c Config
	require.NoError(t, config.Load(&c, func(name string) (string, bool) { v, ok := env[name]; return v, ok }))
	if change != nil {
		change(&c)
	}
	r := &running{log: &journal{}}
	listening := make(chan string, 1)
	c.Logger, c.Listening = slog.New(r.log), func(addr string) { listening <- addr }
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(r.stop)
	select {
	case addr := <-listening:
		r.url = "http://" + addr
	case err := <-ended:
		ended <- err
		t.Fatal("the consumer ended: ", err)
	}
	return r
}

// status asks the control API.
func (r *running) status(t require.TestingT) (s control.Status) {
	answer, err := http.Get(r.url + "/v1/status")
	require.NoError(t, err)
	defer answer.Body.Close()
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&s))
	return s
}

// journal keeps the messages that were logged, with the facts.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	return nil
}

// all returns the lines so far.
func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

func eventually(t *testing.T, why string, true func() bool) {
	t.Helper()
	require.Eventually(t, true, fixture.Patience, 10*time.Millisecond, why)
}

// pendingIn returns how many entries of the stream are given out, not acknowledged.
func pendingIn(t *testing.T, client redis.UniversalClient, box *harness.Sandbox) int64 {
	t.Helper()
	p, err := client.XPending(t.Context(), box.StreamName, "weir").Result()
	require.NoError(t, err)
	return p.Count
}

// settled waits until n distinct events are stored and nothing is pending, and
// asserts the invariants.
func settled(t *testing.T, box *harness.Sandbox, n int64) {
	t.Helper()
	pool, client := fixture.Pool(t, box), fixture.Redis(t, box)
	eventually(t, "all is stored and acknowledged", func() bool {
		return fixture.Number(t, pool, `SELECT count(*) FROM events`) >= n && pendingIn(t, client, box) == 0
	})
	require.Equal(t, n, fixture.Number(t, pool, `SELECT count(*) FROM events`))
	require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM dead_letters`))
	fixture.RollupsEqualRaw(t, pool)
}
