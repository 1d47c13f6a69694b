package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type problem struct {
	Status        int
	Title, Detail string
	Errors        []struct{ Location, Message string }
}

func TestBadInputIsAnsweredWithAProblemThatNamesFieldAndRule(t *testing.T) {
	t.Parallel()
	w := start(t)
	const (
		json   = "application/json"
		ndjson = "application/x-ndjson"
		events = "/v1/events"
	)
	for name, c := range map[string]struct {
		method, url, contentType, body string
		status                         int
		location, says                 string // "" for the whole request
	}{
		"not JSON":               {"POST", w.ingestion + events, json, `{"type":`, 400, "body", "not valid JSON"},
		"not JSON in an array":   {"POST", w.ingestion + events, json, `[{"type":}]`, 400, "", "not valid JSON"},
		"no body":                {"POST", w.ingestion + events, json, ``, 400, "", "body"},
		"wrong content type":     {"POST", w.ingestion + events, "application/xml", `<event/>`, 415, "", "Content-Type must be"},
		"no content type":        {"POST", w.ingestion + events, "", `{"type":"a","user_id":"u"}`, 415, "", "Content-Type must be"},
		"body over 10 MiB":       {"POST", w.ingestion + events, json, strings.Repeat(" ", 10<<20) + `{}`, 413, "", "10485760"},
		"too many events":        {"POST", w.ingestion + events, ndjson, strings.Repeat("{}\n", 20_001), 413, "", "20000"},
		"empty batch":            {"POST", w.ingestion + events, json, `[]`, 422, "", "empty"},
		"empty NDJSON":           {"POST", w.ingestion + events, ndjson, "\n\n", 422, "", "empty"},
		"wrong time":             {"POST", w.ingestion + events, json, `{"type":"a","user_id":"u","time":"yesterday"}`, 422, "body.time", "RFC 3339"},
		"time of year 0":         {"POST", w.ingestion + events, json, `{"type":"a","user_id":"u","time":"0000-01-01T00:00:00Z"}`, 422, "body.time", "before"},
		"wrong type of a field":  {"POST", w.ingestion + events, json, `{"type":"a","user_id":7}`, 422, "body.user_id", "must be a string"},
		"unknown field":          {"POST", w.ingestion + events, json, `{"type":"a","user_id":"u","colour":"red"}`, 422, "body.colour", "properties"},
		"second event bad too":   {"POST", w.ingestion + events, json, `[{"type":"A","user_id":"u"},{"type":"b"}]`, 422, "body[1].user_id", "anonymous_id"},
		"id without a time":      {"POST", w.ingestion + events, json, `{"id":"m1","type":"a","user_id":"u"}`, 422, "body.time", "required with an id"},
		"no such path":           {"GET", w.ingestion + "/v1/nothing", "", "", 404, "", "/docs"},
		"wrong method":           {"DELETE", w.ingestion + events, "", "", 405, "", "DELETE"},
		"api: no such path":      {"GET", w.api + "/v2", "", "", 404, "", "/docs"},
		"api: wrong time":        {"GET", w.api + "/v1/metrics/summary?from=yesterday", "", "", 422, "query.from", "such as 2026-01-31T00:00:00Z"},
		"api: reversed range":    {"GET", w.api + "/v1/metrics/summary?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "", "", 422, "", "from"},
		"api: unknown interval":  {"GET", w.api + "/v1/metrics/timeseries?interval=fortnight", "", "", 422, "query.interval", ""},
		"api: unknown parameter": {"GET", w.api + "/v1/metrics/summary?form=2026-01-02T00:00:00Z", "", "", 422, "query.form", ""},
		"api: too many buckets":  {"GET", w.api + "/v1/metrics/timeseries?interval=minute&from=2020-01-01T00:00:00Z", "", "", 422, "", "interval"},
		"api: hostile filter":    {"GET", w.api + "/v1/metrics/top?by=path&filter=" + url.QueryEscape(`type is "a'; DROP TABLE events; --" or 1=1`), "", "", 422, "query.filter", "at byte 39"},
		"api: unknown dimension": {"GET", w.api + "/v1/metrics/top?by=user_id", "", "", 422, "query.by", ""},
		"api: unknown time zone": {"GET", w.api + "/v1/metrics/timeseries?timezone=Mars/Olympus", "", "", 422, "query.timezone", "Europe/Berlin"},
		"api: long raw range":    {"GET", w.api + "/v1/metrics/users?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z&filter=user_id+exists", "", "", 422, "query.from", "at most 7 days"},
		"api: broken cursor":     {"GET", w.api + "/v1/events?cursor=%27%3B%20DROP%20TABLE%20events", "", "", 422, "query.cursor", ""},
		"api: limit too high":    {"GET", w.api + "/v1/events?limit=100000", "", "", 422, "query.limit", ""},
		"consumer: no such path": {"GET", w.consumer + "/", "", "", 404, "", "/docs"},
	} {
		t.Run(name, func(t *testing.T) {
			r := do(t, c.method, c.url, c.contentType, c.body)
			require.Equal(t, c.status, r.status, r.body)
			require.Equal(t, "application/problem+json", r.header.Get("Content-Type"))
			var p problem
			r.into(t, &p)
			require.Equal(t, c.status, p.Status)
			require.NotEmpty(t, p.Title)
			require.Contains(t, r.body, c.says)
			if c.location != "" {
				var locations []string
				for _, e := range p.Errors {
					locations = append(locations, e.Location)
				}
				require.Contains(t, locations, c.location, r.body)
			}
		})
	}
}

func TestAnEventIsNotBlamedForWhatItMayLeaveOut(t *testing.T) {
	t.Parallel()
	w := start(t)
	for body, want := range map[string][]string{
		`{"type":"Bad One","time":"now"}`:                {"body.time", "body.type", "body.user_id"},
		`{"id":"m-1","type":"a","user_id":"u"}`:          {"body.time"},
		`{"id":"m-1","type":"a","user_id":"u","time":1}`: {"body.time"},
		`{"id":1,"type":"a","user_id":"u"}`:              {"body.id"},
	} {
		r := w.post(body)
		require.Equal(t, http.StatusUnprocessableEntity, r.status, r.body)
		var p problem
		r.into(t, &p)
		var got []string
		for _, e := range p.Errors {
			got = append(got, e.Location)
		}
		require.ElementsMatch(t, want, got, body)
	}
}

func TestAnEncodingThatIsNotTakenIsRefusedNotMisread(t *testing.T) {
	t.Parallel()
	w := start(t)
	r := w.post("\x1f\x8b", "Content-Encoding", "br")
	require.Equal(t, http.StatusUnsupportedMediaType, r.status, r.body)
	require.Contains(t, r.body, "without Content-Encoding")
}

func TestBadEventsDoNotHoldUpGoodOnes(t *testing.T) {
	t.Parallel()
	w := start(t)
	var got answer
	r := postWhenUp(t, w.ingestion+"/v1/events", "application/x-ndjson; charset=utf-8", strings.Join([]string{
		`{"type":"click","user_id":"u1"}`,
		`{"type":"Click","country":"Germany"}`,
		`{"type":"click",`,
		`{"type":"click","anonymous_id":"a1"}`,
	}, "\n"))
	require.Equal(t, http.StatusAccepted, r.status, r.body)
	r.into(t, &got)
	require.Equal(t, 2, got.Accepted)
	require.Equal(t, 2, got.Rejected)
	var statuses []string
	for i, result := range got.Results {
		require.Equal(t, i, result.Index)
		statuses = append(statuses, result.Status)
	}
	require.Equal(t, []string{"accepted", "rejected", "rejected", "accepted"}, statuses)
	require.Len(t, got.Results[1].Errors, 3, "type, country, and who did it: %v", got.Results[1].Errors)
	require.Contains(t, got.Results[2].Errors[0].Rule, "not valid JSON")
	reach(t, w.pool, 2, `SELECT count(*) FROM events`)
}

func TestDocumentsHealthAndMetricsAreServedByTheServicesThemselves(t *testing.T) {
	t.Parallel()
	w := start(t)
	for name, url := range map[string]string{"api": w.api, "consumer": w.consumer, "ingestion": w.ingestion} {
		for path, says := range map[string]string{
			"/openapi.json": `"openapi":"3.1`, "/docs/": "<html", "/healthz": `"alive"`, "/readyz": `"redis"`, "/metrics": "go_goroutines",
		} {
			r := do(t, http.MethodGet, url+path, "", "")
			if path == "/readyz" { // on a busy machine a server may take longer to answer than that is called ready
				require.Eventually(t, func() bool { r = do(t, http.MethodGet, url+path, "", ""); return r.status == http.StatusOK }, patience, 50*time.Millisecond, "%s: %s", name, r.body)
			}
			require.Equal(t, http.StatusOK, r.status, "%s%s: %s", name, path, r.body)
			require.Contains(t, r.body, says, "%s%s", name, path)
		}
		require.NotRegexp(t, `(src|href)="https?://`, do(t, http.MethodGet, url+"/docs/", "", "").body, "the documentation must work without the internet")
	}
}
