package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"weir/services/shared/build"
)

// An event's trace goes from the request that brought it, by a field of its stream entry,
// to the transaction that stored it. A transaction stores the events of many requests:
// its span continues the first's trace, and has a link to each.

// stopTimeout is how long the last spans may take to be sent.
const stopTimeout = 5 * time.Second

// StartTraces returns a tracer of a service's spans, and what sends the last of them.
// exporter is OTEL_TRACES_EXPORTER: none gives a nil tracer, which means that there are
// no traces. With otlp the SDK reads the other OTEL variables from the environment itself:
// where spans go, how many are sampled, what else is told of the service.
func StartTraces(ctx context.Context, exporter, service string, log *slog.Logger) (trace.Tracer, func(), error) {
	if exporter != "otlp" {
		return nil, func() {}, nil
	}
	client, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("start traces: %w", err)
	}
	of, err := resource.Merge(resource.NewSchemaless(
		attribute.String("service.name", "weir-"+service), attribute.String("service.version", build.Read().Version)), resource.Environment())
	if err != nil {
		return nil, nil, fmt.Errorf("start traces: %w", err)
	}
	// A global of OpenTelemetry's: it has no other place for the errors of its background.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("Traces could not be sent.", "error", err) }))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(client), sdktrace.WithResource(of))
	return provider.Tracer("weir"), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("The last traces could not be sent.", "error", err)
		}
	}, nil
}

// Child begins a span within the one that ctx has; without one there is none.
func Child(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return ctx, span
	}
	return span.TracerProvider().Tracer("weir").Start(ctx, name, options...)
}

// Traceparent is the span of ctx as a stream entry carries it, in the form of the W3C's
// header; "" without a span that is sampled.
func Traceparent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// Follow begins a span for what was caused by all of the spans that traceparents names.
// What is none of them is passed over; of those that are, the first has the span in its
// trace, so that it is sampled as they are.
func Follow(ctx context.Context, tracer trace.Tracer, traceparents []string, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	var links []trace.Link
	for _, t := range traceparents {
		cause := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": t}))
		if cause.IsValid() {
			links = append(links, trace.Link{SpanContext: cause})
		}
	}
	if tracer == nil || len(links) == 0 {
		return ctx, trace.SpanFromContext(ctx)
	}
	ctx = trace.ContextWithRemoteSpanContext(ctx, links[0].SpanContext)
	return tracer.Start(ctx, name, append(options, trace.WithLinks(links...))...)
}
