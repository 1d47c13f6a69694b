package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	control "weir/openapi/client/ingestion"
)

// TestTheBottleneckIsWhatRanOut makes up what was seen in ten seconds on two cores.
func TestTheBottleneckIsWhatRanOut(t *testing.T) {
	t.Parallel()
	began := time.Now()
	for _, c := range []struct {
		name      string
		cores     map[string]float64 // that each process used
		busy      float64            // cores, of the whole machine
		waiting   float64            // cores that waited for the disk
		published int64
		says      []string
	}{
		{"CPU", map[string]float64{rig.Postgres: 1.2, rig.Consumer: 0.5, rig.API: 0.01}, 1.8, 0, 10_000, []string{"CPU: 1.80 of 2 cores", "postgres 1.20, consumer 0.50"}},
		{"Redis", map[string]float64{rig.Redis: 0.95, rig.Consumer: 0.3}, 1.4, 0, 10_000, []string{"Redis' one thread", "0.95 of a core"}},
		{"disk", map[string]float64{rig.Postgres: 0.6}, 0.9, 0.8, 10_000, []string{"the disk: 0.80 cores"}},
		{"generator", map[string]float64{rig.Generator: 0.99}, 1.2, 0, 5000, []string{"the generator, which used 0.99 cores"}},
		{"waiting", map[string]float64{rig.Consumer: 0.2}, 0.4, 0, 10_000, []string{"waiting, not a resource: 0.40 of 2 cores", "CONSUMER_WRITERS"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := held{rate: 1000, duration: 10 * time.Second, lasted: 10 * time.Second, Figures: control.Figures{Published: c.published}}
			h.from = rig.Sample{At: began, Busy: 100, Waiting: 50, Usage: map[string]rig.Usage{}}
			h.to = rig.Sample{At: began.Add(h.duration), Busy: 100 + 10*c.busy, Waiting: 50 + 10*c.waiting, Usage: map[string]rig.Usage{}}
			for process, cores := range c.cores {
				h.from.Usage[process], h.to.Usage[process] = rig.Usage{CPU: 7}, rig.Usage{CPU: 7 + 10*cores}
			}
			got := h.bottleneck(report.Machine{CPUs: 2})
			for _, want := range c.says {
				require.Contains(t, got, want)
			}
			require.NotContains(t, got, "api", "which used next to nothing")
		})
	}
}
