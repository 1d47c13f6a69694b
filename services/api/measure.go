package api

import (
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// measure is a middleware that times every operation.
func measure(registry *prometheus.Registry) func(huma.Context, func(huma.Context)) {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "weir_api_request_seconds",
		Help:    "Time to answer a request, by operation and status; canceled when the client did not wait.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"operation", "status"})
	registry.MustRegister(seconds)
	return func(ctx huma.Context, next func(huma.Context)) {
		start := time.Now()
		next(ctx)
		status := strconv.Itoa(ctx.Status())
		if ctx.Context().Err() != nil {
			status = "canceled"
		}
		seconds.WithLabelValues(ctx.Operation().OperationID, status).Observe(time.Since(start).Seconds())
	}
}
