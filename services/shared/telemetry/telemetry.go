// Package telemetry sets metrics up the same way in every service. The metrics
// themselves are declared beside the code that moves them.
package telemetry

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"weir/services/shared/build"
)

// NewRegistry returns a registry with the metrics of the Go runtime, of the process and
// of the build. Each run of a service has one of its own, so several can run in one
// process, as the tests do.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := build.Read()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_build_info", Help: "Always 1; the labels name the build.",
			ConstLabels: prometheus.Labels{"version": info.Version, "commit": info.Commit, "go_version": runtime.Version()},
		}, func() float64 { return 1 }),
	)
	return r
}
