package contract_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness/contract"
)

const document = `{"openapi": "3.1.0", "paths": {
	"/things/{id}": {"get": {"operationId": "get-thing",
		"parameters": [
			{"name": "id", "in": "path", "required": true, "schema": {"type": "integer", "minimum": 1}},
			{"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 10}},
			{"name": "parts", "in": "query", "explode": false, "schema": {"type": ["array", "null"], "items": {"enum": ["a", "b"], "type": "string"}}},
			{"name": "deep", "in": "query", "schema": {"type": "boolean"}}],
		"responses": {
			"200": {"headers": {"Age": {"schema": {"type": "integer"}}}, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
			"422": {"content": {"application/problem+json": {"schema": {"type": "object"}}}}}}},
	"/things": {"post": {"operationId": "post-things",
		"requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Thing"}}}}},
		"responses": {"202": {"content": {"application/json": {"schema": {"type": "object"}}}}, "422": {}}}},
	"/live": {"get": {"operationId": "watch-things", "responses": {"200": {"content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Thing"}}}}}}}},
	"components": {"schemas": {"Thing": {"type": "object", "required": ["n"], "additionalProperties": false, "properties": {"n": {"type": "integer"}}}}}}`

// said is what a service answers.
type said struct {
	status          int
	kind, age, body string
}

func TestEveryLieIsFound(t *testing.T) {
	t.Parallel()
	thing := said{200, "application/json; charset=utf-8", "7", `{"n":1}`}
	refused := said{422, "application/problem+json", "", "{}"}
	for _, c := range []struct {
		name, method, path, body string
		answer                   said
		lie                      string // what is found; "" when all is well
	}{
		{"as described", "GET", "/things/1?limit=5&parts=a,b&deep=true", "", thing, ""},
		{"empty parameters are none", "GET", "/things/1?limit=&parts=&deep=", "", thing, ""},
		{"refused", "GET", "/things/0", "", refused, ""},
		{"of no operation", "GET", "/nothing", "", said{404, "text/plain", "", ""}, ""},
		{"a page", "GET", "/docs/index.html", "", said{200, "text/html", "", ""}, ""},
		{"one of a batch", "POST", "/things", `[{"n":1},{"n":"x"}]`, said{202, "application/json", "", `{"results":[{"index":0,"status":"accepted"},{"index":1,"status":"rejected"}]}`}, ""},
		{"events", "GET", "/live", "", said{200, "text/event-stream", "", "id: 1\ndata: {\"n\":1}\n\n"}, ""},

		{"status", "GET", "/things/1", "", said{418, "application/json", "", "{}"}, "the status is not described"},
		{"content type", "GET", "/things/1", "", said{200, "text/html", "", "1"}, `none of ["application/json"]`},
		{"body", "GET", "/things/1", "", said{200, "application/json", "", `{"n":"x"}`}, "got string, want integer"},
		{"more in the body", "GET", "/things/1", "", said{200, "application/json", "", `{"n":1,"m":2}`}, "additional properties 'm' not allowed"},
		{"no JSON", "GET", "/things/1", "", said{200, "application/json", "", `{`}, "no JSON"},
		{"header", "GET", "/things/1", "", said{200, "application/json", "old", `{"n":1}`}, "header Age"},
		{"operation", "GET", "/secret", "", thing, "not described"},
		{"path", "GET", "/things/x", "", thing, "parameter id"},
		{"parameter", "GET", "/things/1?limit=11", "", thing, "parameter limit"},
		{"another form of a parameter", "GET", "/things/1?deep=1", "", thing, "parameter deep"},
		{"list", "GET", "/things/1?parts=a,c", "", thing, "parameter parts"},
		{"forbidden, and not the client's fault", "GET", "/things/0", "", said{500, "application/problem+json", "", "{}"}, "the status is not described"},
		{"taken", "POST", "/things", `[{"n":"x"}]`, said{202, "application/json", "", `{}`}, "got string, want integer"},
		{"taken with the others", "POST", "/things", `[{"n":"x"},{}]`, said{202, "application/json", "", `{"results":[{"index":1,"status":"rejected"}]}`}, "got string, want integer"},
		{"nothing", "POST", "/things", "", said{202, "application/json", "", `{}`}, "the body is required"},
		{"event", "GET", "/live", "", said{200, "text/event-stream", "", "data: {\"n\":1}\n\ndata: {\"n\":\"x\"}\n\n"}, "got string, want integer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/openapi.json" {
					_, _ = io.WriteString(w, document)
					return
				}
				w.Header().Set("Content-Type", c.answer.kind)
				if c.answer.age != "" {
					w.Header().Set("Age", c.answer.age)
				}
				w.WriteHeader(c.answer.status)
				_, _ = io.WriteString(w, c.answer.body)
			}))
			defer service.Close()
			transport := contract.New(service.Client().Transport)
			require.NoError(t, transport.Hold(t.Context(), service.URL))
			request, err := http.NewRequestWithContext(t.Context(), c.method, service.URL+c.path, strings.NewReader(c.body))
			require.NoError(t, err)
			request.Header.Set("Content-Type", "application/json")
			answer, err := transport.RoundTrip(request)
			var body []byte
			if err == nil {
				body, err = io.ReadAll(answer.Body)
				answer.Body.Close()
			}
			if c.lie == "" {
				require.NoError(t, err)
				require.Equal(t, c.answer.body, string(body))
				require.Empty(t, transport.Breaches())
				return
			}
			require.ErrorContains(t, err, c.lie)
			require.Equal(t, err.Error()+"\n", transport.Breaches())
		})
	}
}

// TestALieLeavesNoConnectionBehind has a service answer what its document does not know,
// again and again, and then be no service any more.
func TestALieLeavesNoConnectionBehind(t *testing.T) {
	t.Parallel()
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/openapi.json" {
			_, _ = io.WriteString(w, document)
			return
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	}))
	var open atomic.Int32
	service.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	service.Start()
	defer service.Close()
	transport := contract.New(service.Client().Transport)
	require.NoError(t, transport.Hold(t.Context(), service.URL))
	ask := func() (*http.Response, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, service.URL+"/things/1", nil)
		require.NoError(t, err)
		return transport.RoundTrip(request)
	}
	for range 10 {
		_, err := ask() //nolint:bodyclose // there is none with an error
		require.Error(t, err)
	}
	require.Eventually(t, func() bool { return open.Load() == 0 }, 10*time.Second, 10*time.Millisecond)

	transport.Release(service.URL)
	answer, err := ask()
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusTeapot, answer.StatusCode)
}
