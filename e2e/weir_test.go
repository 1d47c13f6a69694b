// Package e2e holds one file per scenario. Each runs Weir's three services, either
// in this process (fast) or as processes of their own (signals), on real servers
// and in a sandbox of its own.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"weir/e2e/harness"
	"weir/e2e/harness/contract"
	"weir/e2e/harness/defaults"
	"weir/migrations"
	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
	"weir/services/shared/config"
	"weir/services/shared/logging"
	"weir/services/shared/redisclient"
)

// contracts holds the services to their documents, in every request of every test.
var contracts = contract.New(http.DefaultTransport)

func TestMain(m *testing.M) {
	http.DefaultTransport = contracts // of the SDKs and generated clients too
	if fault := os.Getenv(faultAt); fault != "" {
		os.Exit(consumeFaultily(fault))
	}
	// Before any test runs: a build takes two minutes on a slow machine that never did
	// one, and tests give a program less time than that to come up.
	if _, err := built(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// A connection that is closed with data in it leaves toxiproxy's goroutines behind.
	code := harness.Main(m, goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"))
	os.RemoveAll(builtIn)
	if lies := contracts.Breaches(); lies != "" {
		fmt.Fprint(os.Stderr, lies)
		code = max(code, 1)
	}
	os.Exit(code)
}

// patience is how long a test waits for what should take milliseconds.
const patience = 60 * time.Second

// weir is the three services, running in this process.
type weir struct {
	t                        *testing.T
	box                      *harness.Sandbox
	pool                     *pgxpool.Pool
	api, consumer, ingestion string // addresses
}

// setting changes what a service is told.
type setting func(*api.Config, *consumer.Config, *ingestion.Config)

func generate(rate float64, count int64, seed int64) setting {
	return func(_ *api.Config, _ *consumer.Config, i *ingestion.Config) {
		i.Generator.Rate, i.Generator.Count, i.Generator.Seed = rate, count, seed
	}
}

// start runs the services with their defaults until the test ends.
func start(t *testing.T, settings ...setting) *weir {
	t.Helper()
	w := &weir{t: t, box: sandbox(t)}
	w.pool = open(t, w.box)
	env := environment(w.box)
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }

	var a api.Config
	var c consumer.Config
	var i ingestion.Config
	for _, cfg := range []any{&a, &c, &i} {
		require.NoError(t, config.Load(cfg, lookup))
	}
	for _, s := range settings {
		s(&a, &c, &i)
	}
	log := logging.New(testWriter{t}, t.Name(), "text", 8) // errors only
	listening := make(chan struct{}, 3)
	at := func(url *string) func(string) {
		return func(addr string) { *url = "http://" + addr; listening <- struct{}{} }
	}
	a.Logger, a.Listening = log, at(&w.api)
	c.Logger, c.Listening = log, at(&w.consumer)
	i.Logger, i.Listening = log, at(&w.ingestion)

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return api.Run(ctx, a) })
	group.Go(func() error { return consumer.Run(ctx, c) })
	group.Go(func() error { return ingestion.Run(ctx, i) })
	t.Cleanup(func() {
		for _, service := range []string{w.api, w.consumer, w.ingestion} {
			contracts.Release(service)
		}
		cancel()
		require.NoError(t, group.Wait())
	})
	for range 3 {
		select {
		case <-listening:
		case <-ctx.Done():
			t.Fatal("a service ended: ", group.Wait())
		}
	}
	for _, service := range []string{w.api, w.consumer, w.ingestion} {
		require.NoError(t, contracts.Hold(ctx, service))
	}
	return w
}

func sandbox(t *testing.T) *harness.Sandbox {
	t.Helper()
	box := harness.NewSandbox(t)
	_, err := migrations.Up(t.Context(), box.PostgresURL)
	require.NoError(t, err)
	return box
}

func open(t *testing.T, box *harness.Sandbox) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), box.PostgresURL)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// connect opens the sandbox's Redis until the test ends.
func connect(t *testing.T, box *harness.Sandbox) redis.UniversalClient {
	t.Helper()
	client, err := redisclient.New(redisclient.Config{URL: box.RedisURL})
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	return client
}

// environment is what a service needs to run in a sandbox, on free ports. All other
// settings are empty: then they have their defaults, whatever is exported here.
func environment(box *harness.Sandbox) map[string]string {
	env := map[string]string{}
	for _, s := range defaults.Settings() {
		name, value, _ := strings.Cut(s, "=")
		env[name] = value
	}
	maps.Copy(env, map[string]string{
		"REDIS_URL": box.RedisURL, "POSTGRES_URL": box.PostgresURL, "STREAM_NAME": box.StreamName,
		"API_PORT": "0", "CONSUMER_PORT": "0", "INGESTION_PORT": "0", "BIND_HOST": "127.0.0.1",
		"POSTGRES_POOL_SIZE": "10", "POSTGRES_CONNECT_TIMEOUT": "20s", "CONSUMER_NAME": "e2e",
	})
	return env
}

// reply is an HTTP answer, read.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) into(t *testing.T, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.body), v), r.body)
}

func do(t *testing.T, method, url, contentType, body string, header ...string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return reply{response.StatusCode, response.Header, string(text)}
}

// postWhenUp posts, and comes again when it is told that the stream is away: on a busy
// machine Redis may be, for a second, in a test that is about something else.
// What was on its way when it went is not sent again: its answer has results.
func postWhenUp(t *testing.T, url, contentType, body string, header ...string) reply {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); ; <-again.C {
		r := do(t, http.MethodPost, url, contentType, body, header...)
		if r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, "The stream is not available") ||
			strings.Contains(r.body, `"results"`) || time.Now().After(deadline) {
			return r
		}
	}
}

func (w *weir) post(body string, header ...string) reply {
	w.t.Helper()
	return postWhenUp(w.t, w.ingestion+"/v1/events", "application/json", body, header...)
}

func (w *weir) get(path string) reply {
	w.t.Helper()
	return do(w.t, http.MethodGet, w.api+path, "", "")
}

// number runs a query that answers one whole number.
func number(t *testing.T, pool *pgxpool.Pool, query string, args ...any) (n int64) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), query, args...).Scan(&n), query)
	return n
}

// reach waits until a query answers want.
func reach(t *testing.T, pool *pgxpool.Pool, want int64, query string, args ...any) {
	t.Helper()
	require.Eventually(t, func() bool { return number(t, pool, query, args...) >= want }, patience, 20*time.Millisecond,
		"waiting for %d from %s", want, query)
	require.Equal(t, want, number(t, pool, query, args...), query)
}

// rollupsEqualRaw asserts invariant 3 for every grain and dimension, in one
// snapshot: at READ COMMITTED a statement is planned with an older one than it runs with,
// and misses a chunk that was made in between.
func rollupsEqualRaw(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	require.NoError(t, err)
	defer tx.Rollback(t.Context())
	_, err = tx.Exec(t.Context(), "SELECT 1") // takes the snapshot
	require.NoError(t, err)
	for _, grain := range []struct{ view, unit string }{{"minutes", "minute"}, {"hours", "hour"}, {"days", "day"}} {
		var differences int64
		require.NoError(t, tx.QueryRow(t.Context(), fmt.Sprintf(`
			WITH raw AS (
				SELECT date_trunc('%s', time, 'UTC') AS bucket, d.dimension, type, d.value, count(*)::bigint AS events, coalesce(sum(e.value), 0) AS total
				FROM events e CROSS JOIN LATERAL (VALUES (0, ''), (1, path), (2, referrer), (3, country), (4, device), (5, browser), (6, os), (7, source)) AS d (dimension, value)
				WHERE d.value IS NOT NULL GROUP BY 1, 2, 3, 4
			), rolled AS (
				SELECT v.bucket, v.dimension::int, k.type, k.value, sum(v.events)::bigint AS events, sum(v.value) / 1000000 AS total
				FROM %s v JOIN rollup_keys k ON k.id = v.key_id GROUP BY 1, 2, 3, 4
			)
			SELECT count(*) FROM raw FULL JOIN rolled USING (bucket, dimension, type, value)
			WHERE raw.events IS DISTINCT FROM rolled.events OR raw.total IS DISTINCT FROM rolled.total`, grain.unit, grain.view)).Scan(&differences))
		require.Zero(t, differences, "the rollups by %s differ from the raw rows", grain.unit)
	}
}

// testWriter sends log lines to the test's own log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(bytes.TrimRight(p, "\n")))
	return len(p), nil
}
