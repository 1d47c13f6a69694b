package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/migrations"
	"weir/services/api"
	"weir/services/shared/config"
)

type problem struct {
	Title, Detail string
	Status        int
	Errors        []struct{ Location, Message string }
}

func TestBadInputIsAProblemThatNamesTheParameter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	hostile := "'; DROP TABLE events; --"
	for _, c := range []struct {
		path, parameter, value string
		status                 int
	}{
		{"/v1/metrics/summary", "from", "yesterday", 422},
		{"/v1/metrics/summary", "from", "9999-01-01T00:00:00Z", 422},
		{"/v1/metrics/summary", "from", "1900-01-01T00:00:00Z", 422},
		{"/v1/metrics/summary", "to", "2026-13-01T00:00:00Z", 422},
		{"/v1/metrics/summary", "to", "0000-01-01T00:00:00Z", 422},
		{"/v1/metrics/summary", "to", "9999-12-31T23:59:59.9Z", 422},
		{"/v1/metrics/summary", "type", hostile, 422},
		{"/v1/metrics/summary", "source", hostile, 422},
		{"/v1/metrics/summary", "colour", "red", 422},
		{"/v1/metrics/summary", "filter", hostile, 422},
		{"/v1/metrics/summary", "filter", `type is "a" or 1=1 --`, 422},
		{"/v1/metrics/summary", "filter", strings.Repeat("(", 4096), 422},
		{"/v1/metrics/summary", "filter", strings.Repeat("é", 4096), 422},
		{"/v1/metrics/summary", "filter", "type is \"\x00\"", 422},
		{"/v1/metrics/summary", "filter", "\xff", 422},
		{"/v1/metrics/summary", "metrics", "events,money", 422},
		{"/v1/metrics/summary", "compare", "decade", 422},
		{"/v1/metrics/timeseries", "timezone", "Mars/Olympus", 422},
		{"/v1/metrics/timeseries", "timezone", "../../etc/passwd", 422},
		{"/v1/metrics/timeseries", "timezone", hostile, 422},
		{"/v1/metrics/top", "by", hostile, 422},
		{"/v1/metrics/top", "by", "user_id", 422},
		{"/v1/metrics/top", "limit", "1001", 422},
		{"/v1/metrics/breakdown", "rows", hostile, 422},
		{"/v1/metrics/breakdown", "columns", "session_id", 422},
		{"/v1/metrics/breakdown", "row_limit", "101", 422},
		{"/v1/metrics/users", "from", "2026-02-30T00:00:00Z", 422},
		{"/v1/metrics/timeseries", "interval", "fortnight", 422},
		{"/v1/metrics/timeseries", "group_by", hostile, 422},
		{"/v1/metrics/timeseries", "group_by", "user_id", 422},
		{"/v1/metrics/timeseries", "limit", "51", 422},
		{"/v1/metrics/timeseries", "limit", "many", 422},
		{"/v1/events", "limit", "0", 422},
		{"/v1/events", "limit", "1001", 422},
		{"/v1/events", "limit", "99999999999999999999", 422},
		{"/v1/events", "cursor", "nonsense", 422},
		{"/v1/events", "cursor", strings.Repeat("A", 34), 422},
		{"/v1/events", "cursor", strings.Repeat("A", 100), 422},
		{"/v1/events", "type", "UPPER", 422},
		{"/v1/live", "seq", "-1", 422},
		{"/v1/live", "epoch", hostile, 422},
		{"/v1/live", "colour", "red", 422},
	} {
		var p problem
		response := w.get(c.path, url.Values{c.parameter: {c.value}}, &p)
		require.Equal(t, c.status, response.StatusCode, "%v", c)
		require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
		where := p.Detail
		for _, e := range p.Errors {
			where += " " + e.Location
		}
		if c.path != "/v1/live" || c.parameter != "seq" { // there epoch is missed first
			require.Contains(t, where, c.parameter, "%v", c)
		}
	}
	for _, path := range []string{"/v1/nothing", "/v1/events/", "/v2/events"} {
		require.Equal(t, http.StatusNotFound, w.get(path, nil, new(problem)).StatusCode, path)
	}
	require.Equal(t, 422, w.get("/v1/events/not-a-uuid", nil, new(problem)).StatusCode)
	require.Equal(t, 422, w.get("/v1/events/00000000-0000-0000-0000-000000000000", nil, new(problem)).StatusCode)
	require.Equal(t, 426, w.get("/v1/live", nil, new(problem)).StatusCode)
}

func TestTooManyBucketsSayHowToAskForFewer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	week := url.Values{"from": {"2026-01-01T00:00:00Z"}, "to": {"2026-01-09T00:00:00Z"}}
	for name, v := range map[string][]string{"interval": {"minute"}} {
		week[name] = v
	}
	var p problem
	require.Equal(t, 422, w.get("/v1/metrics/timeseries", week, &p).StatusCode)
	require.Equal(t, "query.interval", p.Errors[0].Location)
	require.Contains(t, p.Errors[0].Message, "11520 buckets")
	require.Contains(t, p.Errors[0].Message, "at most 33h20m0s")

	week.Set("interval", "day")
	week.Set("group_by", "path")
	week.Set("source", "web")
	require.Equal(t, 422, w.get("/v1/metrics/timeseries", week, &p).StatusCode)
	require.Contains(t, p.Errors[0].Message, "at most 7 days")
}

func TestTooManyGroupsSayHowToAskForFewer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	_, err := w.pool.Exec(t.Context(), `
		INSERT INTO events (id, time, type, source, anonymous_id, path)
		SELECT gen_random_uuid(), '2026-01-01T12:00:00Z', 'page_view', 'web', 'a', '/' || n FROM generate_series(1, 200001) AS n`)
	require.NoError(t, err)
	day := url.Values{"from": {"2026-01-01T00:00:00Z"}, "to": {"2026-01-02T00:00:00Z"}, "by": {"path"}, "filter": {anything}}
	var p problem
	require.Equal(t, 422, w.get("/v1/metrics/top", day, &p).StatusCode)
	require.Equal(t, "query.from", p.Errors[0].Location)
	require.Contains(t, p.Errors[0].Message, "more than 200000 groups")
	require.Contains(t, p.Errors[0].Message, "narrower filter")

	day.Set("filter", anything+` and path != "/1"`)
	w.ok("/v1/metrics/top", day, new(any))
}

func TestReadKeysAreAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start("API_READ_KEYS", "one, two")
	for authorization, status := range map[string]int{"": 401, "Bearer wrong": 403, "Basic one": 401, "one": 401, "Bearer": 401, "Bearer one": 200, "bearer two": 200} {
		for _, path := range []string{"/v1/metrics/summary", "/v1/metrics/timeseries", "/v1/events", "/v1/live"} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.address+path, nil)
			require.NoError(t, err)
			request.Header.Set("Authorization", authorization)
			response, err := w.http.Do(request)
			require.NoError(t, err)
			response.Body.Close()
			want := status
			if path == "/v1/live" && status == 200 { // no handshake
				want = 426
			}
			require.Equal(t, want, response.StatusCode, "%s %q", path, authorization)
			if want == 401 {
				require.Equal(t, "Bearer", response.Header.Get("WWW-Authenticate"))
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs/", "/", "/assets/app.js"} {
		require.Equal(t, 200, w.get(path, nil, nil).StatusCode, path)
	}
}

func TestProductionNeedsReadKeys(t *testing.T) {
	t.Parallel()
	env := map[string]string{"APP_ENV": "production", "REDIS_URL": "redis://localhost", "POSTGRES_URL": "postgres://localhost/x"}
	load := func() error {
		return config.Load(new(api.Config), func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	}
	require.ErrorContains(t, load(), "API_READ_KEYS is required when APP_ENV is production")
	env["API_READ_KEYS"] = "k"
	require.NoError(t, load())
}

// A lock holds every question up, as a long one would.
func (w *world) lockTables() (unlock func()) {
	w.t.Helper()
	tx, err := w.pool.Begin(context.Background())
	require.NoError(w.t, err)
	_, err = tx.Exec(context.Background(), "LOCK TABLE rollup_keys, rollup_deltas, rollup_user_deltas, events")
	require.NoError(w.t, err)
	return func() { require.NoError(w.t, tx.Rollback(context.Background())) }
}

// waiting counts the api's statements that wait for the lock.
func (w *world) waiting() (n int) {
	require.NoError(w.t, w.pool.QueryRow(context.Background(), `SELECT count(*) FROM pg_stat_activity
		WHERE application_name = 'weir-api' AND wait_event_type = 'Lock' AND datname = current_database()`).Scan(&n))
	return n
}

func TestSchemaThatIsBehindIsRefused(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	var cfg api.Config
	env := map[string]string{"REDIS_URL": box.RedisURL, "POSTGRES_URL": box.PostgresURL, "API_PORT": "0"}
	require.NoError(t, config.Load(&cfg, func(name string) (string, bool) { v, ok := env[name]; return v, ok }))
	cfg.Logger = discard
	require.ErrorContains(t, api.Run(t.Context(), cfg), "run `make migrate`")
	_, err := migrations.Up(t.Context(), box.PostgresURL)
	require.NoError(t, err)
	_, err = migrations.Down(t.Context(), box.PostgresURL, 1)
	require.NoError(t, err)
	require.ErrorContains(t, api.Run(t.Context(), cfg), "at version 1")
}

func TestStopsCleanlyWhileAServerIsAway(t *testing.T) {
	t.Parallel()
	var cfg api.Config
	env := map[string]string{"REDIS_URL": "redis://127.0.0.1:1", "POSTGRES_URL": "postgres://127.0.0.1:1/x", "API_PORT": "0"}
	require.NoError(t, config.Load(&cfg, func(name string) (string, bool) { v, ok := env[name]; return v, ok }))
	cfg.Logger = discard
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.NoError(t, api.Run(ctx, cfg))
}

func TestDocumentDescribesEveryOperation(t *testing.T) {
	t.Parallel()
	document := api.OpenAPI()
	data, err := json.Marshal(document)
	require.NoError(t, err)
	require.Contains(t, string(data), `"openapi":"3.1`)
	for path, id := range map[string]string{
		"/v1/metrics/summary": "get-metrics-summary", "/v1/metrics/timeseries": "get-metrics-timeseries",
		"/v1/metrics/top": "get-metrics-top", "/v1/metrics/breakdown": "get-metrics-breakdown", "/v1/metrics/users": "get-metrics-users",
		"/v1/events": "list-events", "/v1/events/{id}": "get-event", "/v1/export": "export-events", "/v1/live": "subscribe-live",
		"/v1/sessions": "get-sessions", "/v1/funnel": "get-funnel", "/v1/retention": "get-retention", "/v1/paths": "get-paths", "/v1/status": "get-status",
		"/healthz": "get-health", "/readyz": "get-readiness",
	} {
		operation := document.Paths[path].Get
		require.Equal(t, id, operation.OperationID)
		require.NotEmpty(t, operation.Summary)
		if strings.HasPrefix(path, "/v1") {
			require.NotEmpty(t, operation.Description)
			require.Contains(t, operation.Responses, "422")
			require.NotEmpty(t, operation.Security)
		}
	}
}

func TestRequestsAreMeasured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	w.get("/v1/events", nil, nil)
	w.get("/v1/events", url.Values{"limit": {"0"}}, nil)
	require.Contains(t, w.metrics(), `weir_http_request_duration_seconds_count{operation="list-events",status="200"} 1`)
	require.Contains(t, w.metrics(), `weir_http_request_duration_seconds_count{operation="list-events",status="422"} 1`)
	require.Contains(t, w.log.String(), "All database connections successful.")
	require.NoError(t, w.stop())
}
