package logging_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"weir/services/shared/logging"
)

func TestALineNamesItsTrace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := logging.New(&out, "api", "json", slog.LevelInfo).With("a", 1)
	log.InfoContext(t.Context(), "Without.")
	require.NotContains(t, out.String(), "trace_id")
	out.Reset()
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	log.InfoContext(trace.ContextWithSpanContext(context.Background(), span), "Within.")
	require.Contains(t, out.String(), `"trace_id":"01000000000000000000000000000000","span_id":"0200000000000000"`)
}
