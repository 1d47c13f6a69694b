package httpserver

import (
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
)

func newDurations() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "weir_http_request_duration_seconds",
		Help:    "Time to answer a request, by operation and status; canceled when the client did not wait.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, NativeHistogramBucketFactor: 1.1,
	}, []string{"operation", "status"})
}

// measure is a middleware that times every operation.
func measure(seconds *prometheus.HistogramVec) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		start := time.Now()
		// Deferred, as an export that fails on the way cuts the connection by a panic.
		defer func() {
			status := strconv.Itoa(ctx.Status())
			if ctx.Context().Err() != nil {
				status = "canceled"
			}
			seconds.WithLabelValues(ctx.Operation().OperationID, status).Observe(time.Since(start).Seconds())
		}()
		next(ctx)
	}
}
