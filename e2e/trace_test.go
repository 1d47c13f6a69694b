package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// TestATraceLeadsFromTheRequestToTheTransaction has the services send their spans to a
// collector, and follows a caller's trace.
func TestATraceLeadsFromTheRequestToTheTransaction(t *testing.T) {
	t.Parallel()
	to := newSpans(t)
	box := sandbox(t)
	on := []string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=" + to.URL, "OTEL_BSP_SCHEDULE_DELAY=50"}
	run(t, box, "weir-consumer", on...)
	ingestion := run(t, box, "weir-ingestion", on...)
	api := run(t, box, "weir-api", on...)

	const caller = "00f067aa0ba902b7"
	traceOf := func(n int) string { return fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e473%d", n) }
	post := func(n int, flags string) {
		t.Helper()
		r := postWhenUp(t, ingestion.URL+"/v1/events", "application/json", `{"type":"a","user_id":"u"}`,
			"traceparent", "00-"+traceOf(n)+"-"+caller+"-"+flags)
		require.Equal(t, http.StatusAccepted, r.status, r.body)
	}
	post(0, "00") // the caller does not sample it, so nobody does
	post(1, "01")

	request := to.await("weir-ingestion", "POST /v1/events")
	require.Equal(t, traceOf(1), hex.EncodeToString(request.GetTraceId()))
	require.Equal(t, caller, hex.EncodeToString(request.GetParentSpanId()))
	require.Equal(t, trace.Span_SPAN_KIND_SERVER, request.GetKind())
	publish := to.await("weir-ingestion", "publish")
	require.Equal(t, request.GetSpanId(), publish.GetParentSpanId())
	commit := to.await("weir-consumer", "commit")
	require.Equal(t, request.GetTraceId(), commit.GetTraceId())
	require.Len(t, commit.GetLinks(), 1)
	require.Equal(t, publish.GetSpanId(), commit.GetLinks()[0].GetSpanId())
	require.Equal(t, request.GetTraceId(), commit.GetLinks()[0].GetTraceId())

	// Questions are traced too, health checks are not.
	require.Equal(t, http.StatusOK, do(t, http.MethodGet, api.URL+"/readyz", "", "").status)
	require.Equal(t, http.StatusOK, do(t, http.MethodGet, api.URL+"/v1/metrics/summary", "", "").status)
	to.await("weir-api", "GET /v1/metrics/summary")
	to.mu.Lock()
	defer to.mu.Unlock()
	for name, span := range to.seen {
		require.NotEqual(t, traceOf(0), hex.EncodeToString(span.GetTraceId()), name)
		require.NotContains(t, name, "/readyz")
	}
}

// spans is a collector of OTLP over HTTP; it keeps the last span of each name.
type spans struct {
	*httptest.Server
	t    *testing.T
	mu   sync.Mutex
	seen map[string]*trace.Span // by service and name
}

func newSpans(t *testing.T) *spans {
	s := &spans{t: t, seen: map[string]*trace.Span{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.take))
	t.Cleanup(s.Close)
	return s
}

func (s *spans) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var message collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &message) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range message.GetResourceSpans() {
		service := ""
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range of.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.seen[strings.Join([]string{service, span.GetName()}, " ")] = span
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// await returns a service's span of a name once it has come.
func (s *spans) await(service, name string) (span *trace.Span) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		span = s.seen[service+" "+name]
		return span != nil
	}, patience, 20*time.Millisecond, "no span %q of %s", name, service)
	return span
}
