package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

// refuser is an ingestion whose Redis is the test's own, to be faulted.
type refuser struct {
	t        *testing.T
	servers  *harness.Servers
	box      *harness.Sandbox
	client   redis.UniversalClient
	url      string
	accepted int64
}

func newRefuser(t *testing.T, settings ...string) *refuser {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := &refuser{t: t, servers: harness.Private(t)}
	var err error
	r.box, err = r.servers.Sandbox(ctx, "refusal")
	require.NoError(t, err)
	options, err := redis.ParseURL(r.box.RedisURL)
	require.NoError(t, err)
	r.client = redis.NewClient(options)
	t.Cleanup(func() { r.client.Close() })
	r.url = run(t, r.box, "weir-ingestion", settings...).URL
	return r
}

// post sends an event of some size, and expects a 202, or a 503 that says when to try
// again.
func (r *refuser) post(size int) (status int, took time.Duration) {
	r.t.Helper()
	begun := time.Now()
	answer := do(r.t, http.MethodPost, r.url+"/v1/events", "application/json",
		fmt.Sprintf(`{"type":"click","user_id":"u","properties":{"a":%q}}`, strings.Repeat("x", size)))
	took = time.Since(begun)
	if answer.status == http.StatusAccepted {
		r.accepted++
		return answer.status, took
	}
	require.Equal(r.t, http.StatusServiceUnavailable, answer.status, answer.body)
	after, err := strconv.Atoi(answer.header.Get("Retry-After"))
	require.NoError(r.t, err)
	require.Positive(r.t, after)
	require.Contains(r.t, answer.body, "again")
	return answer.status, took
}

func (r *refuser) eventually(status, size int) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		got, _ := r.post(size)
		return got == status
	}, patience, 20*time.Millisecond)
}

// config changes a setting of the running Redis.
func (r *refuser) config(name, value string) {
	r.t.Helper()
	require.NoError(r.t, r.client.ConfigSet(r.t.Context(), name, value).Err())
}

func TestWithoutRedisEverythingIsRefusedAtOnceUntilItIsBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	r := newRefuser(t)
	r.eventually(http.StatusAccepted, 1)

	require.NoError(t, r.servers.StopRedis(ctx))
	r.eventually(http.StatusServiceUnavailable, 1)
	var clients sync.WaitGroup
	for range 300 { // no pile-up
		clients.Go(func() {
			begun := time.Now()
			answer, err := http.Post(r.url+"/v1/events", "application/json", strings.NewReader(`{"type":"click","user_id":"u"}`))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if took := time.Since(begun); answer.StatusCode != http.StatusServiceUnavailable || took > 2*time.Second {
				t.Error(answer.Status, took)
			}
		})
	}
	clients.Wait()
	require.NoError(t, r.servers.StartRedis(ctx))
	r.eventually(http.StatusAccepted, 1)

	// One that hangs is no better than one that is gone: the wait is bounded.
	require.NoError(t, r.client.Do(ctx, "CLIENT", "PAUSE", 4000, "ALL").Err())
	var slow time.Duration
	require.Eventually(t, func() bool {
		status, took := r.post(1)
		slow = max(slow, took)
		return status == http.StatusServiceUnavailable && took < 500*time.Millisecond
	}, patience, time.Millisecond)
	require.Less(t, slow, 4*time.Second)
	r.eventually(http.StatusAccepted, 1)

	// What was accepted is there; of a request that found Redis hanging nobody can say.
	n, err := r.client.XLen(ctx, r.box.StreamName).Result()
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, r.accepted)
	require.LessOrEqual(t, n, r.accepted+2)
}

func TestAFullRedisRefusesEventsAndLosesNone(t *testing.T) {
	t.Parallel()
	r := newRefuser(t)
	info, err := r.client.Info(t.Context(), "memory").Result()
	require.NoError(t, err)
	var used int64
	_, rest, _ := strings.Cut(info, "used_memory:")
	_, err = fmt.Sscan(rest, &used)
	require.NoError(t, err)
	most := used + 4<<20
	r.config("maxmemory", strconv.FormatInt(most, 10))
	// The gate leaves a tenth: Redis itself never has to refuse.
	for range 2000 {
		if status, _ := r.post(10_000); status != http.StatusAccepted {
			break
		}
	}
	require.Greater(t, r.accepted, int64(50))
	require.Less(t, r.accepted, int64(400))
	require.Equal(t, int64(0), errorReplies(t, r.client, "OOM"))

	// Where it does have to, because others fill it, that is a refusal too.
	r.config("maxmemory", "1mb")
	status, _ := r.post(1)
	require.Equal(t, http.StatusServiceUnavailable, status)
	r.config("maxmemory", "0")
	r.eventually(http.StatusAccepted, 10_000)
	n, err := r.client.XLen(t.Context(), r.box.StreamName).Result()
	require.NoError(t, err)
	require.Equal(t, r.accepted, n)
}

func errorReplies(t *testing.T, client redis.UniversalClient, code string) (n int64) {
	t.Helper()
	info, err := client.Info(t.Context(), "errorstats").Result()
	require.NoError(t, err)
	if _, rest, found := strings.Cut(info, "errorstat_"+code+":count="); found {
		_, err = fmt.Sscan(rest, &n)
		require.NoError(t, err)
	}
	return n
}

func TestFsyncNeedsTheAppendOnlyFile(t *testing.T) {
	t.Parallel()
	r := newRefuser(t, "INGESTION_DURABILITY=fsync")
	status, _ := r.post(1)
	require.Equal(t, http.StatusAccepted, status)

	r.config("appendonly", "no")
	status, _ = r.post(1)
	require.Equal(t, http.StatusServiceUnavailable, status, "it could be lost")
	var out bytes.Buffer
	var env []string
	for k, v := range environment(r.box) {
		env = append(env, k+"="+v)
	}
	p, err := binaries(t).Start(t.Context(), "weir-ingestion", append(env, "INGESTION_DURABILITY=fsync"), &out)
	require.Error(t, err)
	require.Equal(t, 1, p.ExitCode())
	require.Contains(t, out.String(), "appendonly yes")
}
