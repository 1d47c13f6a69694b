package httpserver

import (
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracing has the tracer of the operations; without one there are no spans.
type tracing struct{ tracer trace.Tracer }

// Trace has every operation traced from now on; nil leaves it off.
func (a API) Trace(tracer trace.Tracer) { a.tracing.tracer = tracer }

// operation is a middleware that makes a span of an operation, in the trace that the
// caller names.
func (t *tracing) operation(ctx huma.Context, next func(huma.Context)) {
	o := ctx.Operation()
	if t.tracer == nil || slices.Contains(o.Tags, "Health") {
		next(ctx)
		return
	}
	parent := propagation.TraceContext{}.Extract(ctx.Context(), incoming{ctx})
	within, span := t.tracer.Start(parent, o.Method+" "+o.Path, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", o.Method), attribute.String("http.route", o.Path)))
	// Deferred, as an export that fails on the way cuts the connection by a panic.
	defer func() {
		span.SetAttributes(attribute.Int("http.response.status_code", ctx.Status()))
		if ctx.Status() >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}()
	if c, ok := ctx.Context().Value(causeKey{}).(*cause); ok {
		c.within = within
	}
	next(huma.WithContext(ctx, within))
}

// incoming gives a request's headers to the propagator.
type incoming struct{ huma.Context }

func (i incoming) Get(name string) string { return i.Header(name) }
func (i incoming) Set(string, string)     {} // nothing is sent with it
func (i incoming) Keys() []string         { return nil }
