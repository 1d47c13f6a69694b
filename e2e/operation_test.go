package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
)

// These tests go by the OpenAPI documents: an operation that is new is tested with the rest.

// operation is one that a document describes.
type operation struct {
	service, method, path string
	*openapi3.Operation
}

func (o operation) String() string { return o.service + ": " + o.method + " " + o.path }

// openOperations are those that ask for no key. The pixel looks at its key itself: who
// shows an image gets one.
var openOperations = map[string]bool{"get-health": true, "get-readiness": true, "get-pixel": true}

func operations(t *testing.T) (list []operation) {
	t.Helper()
	for _, service := range []string{"api", "consumer", "ingestion"} {
		document, err := openapi3.NewLoader().LoadFromFile("../openapi/" + service + "-3.0.yaml")
		require.NoError(t, err)
		for path, item := range document.Paths.Map() {
			for method, o := range item.Operations() {
				list = append(list, operation{service, method, path, o})
			}
		}
	}
	slices.SortFunc(list, func(a, b operation) int { return cmp.Compare(a.String(), b.String()) })
	require.Greater(t, len(list), 30)
	return list
}

// request makes a request that the document's examples fill, but for one parameter.
func (o operation) request(t *testing.T, base, parameter, value string) *http.Request {
	t.Helper()
	path, query, header := o.path, url.Values{}, http.Header{}
	for _, p := range o.Parameters {
		text := value
		if p.Value.Name != parameter {
			if !p.Value.Required {
				continue
			}
			text = exampleOf(p.Value)
		}
		switch p.Value.In {
		case "path":
			path = strings.ReplaceAll(path, "{"+p.Value.Name+"}", url.PathEscape(text))
		case "query":
			query.Set(p.Value.Name, text)
		case "header":
			header.Set(p.Value.Name, text)
		}
	}
	body := ""
	if o.RequestBody != nil {
		body = "{}"
		header.Set("Content-Type", "application/json")
		if o.path == "/v1/batch" {
			body = `{"batch":[{}]}` // which may hold the key itself
		}
		if o.RequestBody.Value.Content.Get("application/json") == nil {
			header.Set("Content-Type", "application/cloudevents+json")
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), o.method, base+path, strings.NewReader(body))
	require.NoError(t, err)
	request.URL.RawQuery, request.Header = query.Encode(), header
	return request
}

func exampleOf(p *openapi3.Parameter) string {
	for _, example := range []any{p.Example, p.Schema.Value.Example, p.Schema.Value.Default} {
		switch v := example.(type) {
		case nil:
		case []any:
			return fmt.Sprint(v[0])
		default:
			return fmt.Sprint(v)
		}
	}
	return "1"
}

// send sends a request, with a key unless it is empty. Of a live feed the head is all.
func send(t *testing.T, request *http.Request, key string) reply {
	t.Helper()
	ctx, cancel := context.WithCancel(request.Context())
	defer cancel()
	if key != "" && request.Header.Get("Authorization") == "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := http.DefaultClient.Do(request.WithContext(ctx))
	require.NoError(t, err, "%s %s", request.Method, request.URL)
	defer response.Body.Close()
	var body []byte
	if response.Header.Get("Content-Type") != "text/event-stream" {
		body, err = io.ReadAll(response.Body)
		require.NoError(t, err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

func locked(a *api.Config, c *consumer.Config, i *ingestion.Config) {
	a.ReadKeys, c.Admin.Keys, i.Admin.Keys, i.WriteKeys = []string{"sesame"}, []string{"sesame"}, []string{"sesame"}, []string{"web=sesame"}
}

func (w *weir) service(name string) string {
	return map[string]string{"api": w.api, "consumer": w.consumer, "ingestion": w.ingestion}[name]
}

func TestEveryOperationAsksForAKeyUnlessItIsDocumentedAsOpen(t *testing.T) {
	t.Parallel()
	w := start(t, locked)
	var closed []operation
	for _, o := range operations(t) {
		if openOperations[o.OperationID] {
			require.Empty(t, o.Security, o)
			require.Less(t, send(t, o.request(t, w.service(o.service), "", ""), "").status, 400, o)
			continue
		}
		require.NotEmpty(t, o.Security, "%s asks for no key, says its document", o)
		for key, status := range map[string]int{"": http.StatusUnauthorized, "guess": http.StatusForbidden, "sesam": http.StatusForbidden} {
			r := send(t, o.request(t, w.service(o.service), "", ""), key)
			require.Equal(t, status, r.status, "%s with %q: %s", o, key, r.body)
			require.Equal(t, "application/problem+json", r.header.Get("Content-Type"), o)
			require.Equal(t, status == http.StatusUnauthorized, r.header.Get("WWW-Authenticate") != "", o)
			if key != "" {
				require.NotContains(t, r.body, key, o)
			}
		}
		closed = append(closed, o)
	}
	require.Contains(t, send(t, must(t, w.ingestion+"/v1/pixel.gif?user_id=u&write_key=guess"), "").header.Get("Weir-Result"), "not known")
	stream, err := connect(t, w.box).XInfoStream(t.Context(), w.box.StreamName).Result()
	require.NoError(t, err)
	require.Zero(t, stream.EntriesAdded, "nothing was ever published")

	for _, o := range closed {
		r := send(t, o.request(t, w.service(o.service), "", ""), "sesame")
		require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, r.status, "%s: %s", o, r.body)
	}
}

func must(t *testing.T, url string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	return request
}

// TestNoParameterIsEverTheServersFault puts what attackers try into every parameter of
// every operation: it is never a fault of the server's, never reaches SQL as SQL, and
// breaks neither the answer's headers nor a line of the log.
func TestNoParameterIsEverTheServersFault(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)
	base, logs := map[string]string{}, map[string]*transcript{}
	for service, format := range map[string]string{"api": "json", "consumer": "text", "ingestion": "json"} {
		logs[service] = &transcript{}
		p := startProgram(t, box, "weir-"+service, logs[service], "LOG_LEVEL=debug", "LOG_FORMAT="+format,
			"API_READ_KEYS=sesame", "ADMIN_KEYS=sesame", "INGESTION_WRITE_KEYS=web=sesame")
		base[service] = p.URL
	}
	require.Equal(t, http.StatusAccepted, postWhenUp(t, base["ingestion"]+"/v1/events", "application/json",
		`{"type":"kept","user_id":"u"}`, "X-Write-Key", "sesame").status)
	reach(t, pool, 1, `SELECT count(*) FROM events`)

	const forged = "\r\nX-Forged: 1\r\n\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\ntime=2026 level=ERROR msg=forged"
	hostile := map[string]string{
		"quote": `'`, "statements": `'; DROP TABLE events; --`, "union": `1 UNION SELECT 1,2,3 --`, "always": `x' OR '1'='1`, "sleep": `1); SELECT pg_sleep(100); --`,
		"backslash": `\'; DROP TABLE events; --`, "dollar": `$1$2 $$ DROP TABLE events $$`, "placeholder": `$99`, "identifier": `path"; DROP TABLE events; --`,
		"lines": "a" + forged, "controls": "\x00\x01\x07\x1b[31m\x7f\u0085\u2028", "NUL": "a\x00b", "invalid UTF-8": "\xff\xfe\xc3\x28\xed\xa0\x80",
		"long": strings.Repeat("x", 20<<10), "deep": strings.Repeat("(", 10_000), "numbers": strings.Repeat("9", 400), "negative": "-9223372036854775809",
		"template": `{{7*7}}${7*7}%n%s`, "path": "../../../../etc/passwd", "empty": "", "space": " ", "not a number": "NaN", "huge": "1e999",
	}
	for _, o := range operations(t) {
		for _, p := range o.Parameters {
			for name, value := range hostile {
				if p.Value.In == "header" {
					value = strings.Map(func(r rune) rune { // what HTTP itself refuses
						if r < ' ' || r == 0x7f {
							return -1
						}
						return r
					}, value)
				}
				if p.Value.In == "path" && value == "" {
					continue // another path
				}
				what := fmt.Sprintf("%s: %s in %s", o, name, p.Value.Name)
				r := send(t, o.request(t, base[o.service], p.Value.Name, value), "sesame")
				assert.Less(t, r.status, 500, "%s: %s", what, r.body)
				require.Empty(t, r.header.Get("X-Forged"), what)
				require.NotContains(t, r.body, "SQLSTATE", what)
				if r.status >= 400 {
					require.Equal(t, "application/problem+json", r.header.Get("Content-Type"), what)
					require.True(t, json.Valid([]byte(r.body)), what)
				}
			}
		}
	}
	require.EqualValues(t, 1, number(t, pool, `SELECT count(*) FROM events WHERE type = 'kept'`))
	for service, log := range logs {
		require.Equal(t, http.StatusOK, do(t, http.MethodGet, base[service]+"/readyz", "", "").status)
		require.NotEmpty(t, log.lines(), service)
		for _, line := range log.lines() {
			var parsed struct{ Service, Msg string }
			if service == "consumer" {
				require.True(t, strings.HasPrefix(line, "time=") && strings.Contains(line, " service=consumer"), "not a line of the log: %q", line)
				continue
			}
			require.NoError(t, json.Unmarshal([]byte(line), &parsed), "%q", line)
			require.Equal(t, service, parsed.Service, line)
			require.NotEqual(t, "forged", parsed.Msg)
		}
	}
}

// TestBodiesThatAreTooLargeAreRefusedByEveryOperation says how large they are first, and
// waits for leave to send, so that no answer is lost to a connection that breaks.
func TestBodiesThatAreTooLargeAreRefusedByEveryOperation(t *testing.T) {
	t.Parallel()
	w := start(t, locked)
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: patience}}
	defer client.CloseIdleConnections()
	tried := 0
	for _, o := range operations(t) {
		if o.RequestBody == nil {
			continue
		}
		size := 1<<20 + 1
		if o.service == "ingestion" && !strings.Contains(o.path, "generator") {
			size = 10<<20 + 1
		}
		request := o.request(t, w.service(o.service), "", "")
		request.Body, request.ContentLength = io.NopCloser(strings.NewReader(`{"a":"`+strings.Repeat("x", size-8)+`"}`)), int64(size)
		request.GetBody = nil
		request.Header.Set("Expect", "100-continue")
		request.Header.Set("Authorization", "Bearer sesame")
		response, err := client.Do(request)
		require.NoError(t, err, o)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err, o)
		require.NoError(t, response.Body.Close())
		status := http.StatusRequestEntityTooLarge
		if slices.Contains(o.Tags, "Segment") {
			status = http.StatusBadRequest // as Segment says it
		}
		require.Equal(t, status, response.StatusCode, "%s: %s", o, text)
		require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"), o)
		tried++
	}
	require.Greater(t, tried, 8)
}

func TestSlowRequestsAreEndedByEveryOperation(t *testing.T) {
	t.Parallel()
	w := start(t, locked, limits(func(i *ingestion.Config) { i.Collector.BodyTimeout = time.Second }))
	for _, service := range []string{"api", "consumer", "ingestion"} {
		t.Run(service+": headers", func(t *testing.T) {
			t.Parallel()
			drip(t, w.service(service), "GET /healthz HTTP/1.1\r\nHost: x\r\n")
		})
	}
	for _, o := range operations(t) {
		if o.RequestBody == nil {
			continue
		}
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			request := o.request(t, w.service(o.service), "", "")
			answer := drip(t, w.service(o.service), fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sesame\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n",
				o.method, request.URL.RequestURI(), request.Header.Get("Content-Type")))
			require.Contains(t, answer, " 408 ")
		})
	}
}
