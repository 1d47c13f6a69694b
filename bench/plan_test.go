package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
)

// measured is a report with the figures that every plan needs.
func measured() *report.Report {
	r := report.New("sweep", map[string]any{"consumers": "1"})
	r.Add("redis_bytes_per_event", report.Bytes, report.Less, 400)
	r.Add("raw_bytes_per_event", report.Bytes, report.Less, 300)
	return r
}

// offered adds a step in which all processes used so many cores each.
func offered(r *report.Report, rate, written, slope, refused, cores float64, processes ...string) {
	s := r.Step(report.EventsPerSecond.Format(rate))
	s.Add("achieved_events_per_second", report.EventsPerSecond, report.More, rate)
	s.Add("written_events_per_second", report.EventsPerSecond, report.More, written)
	s.Add("backlog_slope_events_per_second", report.EventsPerSecond, report.Neither, slope)
	s.Add("refused_events", report.Number, report.Less, refused)
	for _, p := range processes {
		s.Add(p+"_cpu_cores", report.Cores, report.Less, cores)
	}
}

var all = []string{rig.Generator, rig.Redis, rig.Consumer, rig.Postgres, rig.API}

func planned(t *testing.T, o planOptions, from ...*report.Report) *report.Report {
	t.Helper()
	out := report.New("plan", nil)
	o.use = 0.7
	require.NoError(t, o.compute(out, from))
	return out
}

func value(t *testing.T, r *report.Report, name string) float64 {
	t.Helper()
	f, ok := r.Figure(name)
	require.True(t, ok, name)
	require.NotEmpty(t, f.Formula, name)
	return f.Median
}

func notes(r *report.Report) string { return strings.Join(r.Notes, "\n") }

// Ingestion refuses events by their number, their age and Redis' memory, whichever comes first.
func TestAPlanForAnOutageNamesAllThatRefuses(t *testing.T) {
	t.Parallel()
	m := measured()
	offered(m, 10_000, 10_000, 0, 0, 0.2, all...)
	r := planned(t, planOptions{rate: 10_000, outage: time.Hour}, m)
	events := value(t, r, "backpressure_high_events")
	require.Greater(t, events, 10_000*3600.)
	require.Greater(t, value(t, r, "backpressure_high_age_seconds"), 3600.)
	memory := value(t, r, "backpressure_max_memory_bytes")
	require.Greater(t, memory, 400*events)
	// The gate takes nine tenths of maxmemory, where that is less.
	require.GreaterOrEqual(t, 0.9*value(t, r, "redis_memory_bytes"), memory)
	for name, says := range map[string]string{
		"backpressure_high_events": "BACKPRESSURE_HIGH_EVENTS", "backpressure_high_age_seconds": "BACKPRESSURE_HIGH_AGE to no less than 1h2m0s",
		"backpressure_max_memory_bytes": "BACKPRESSURE_MAX_MEMORY", "redis_memory_bytes": "maxmemory",
	} {
		f, _ := r.Figure(name)
		require.Contains(t, f.Formula, says)
	}

	m.Figures = nil
	r = planned(t, planOptions{rate: 10_000, outage: time.Hour}, m)
	require.NotZero(t, value(t, r, "backpressure_high_age_seconds"))
	require.Contains(t, notes(r), "BACKPRESSURE_MAX_MEMORY")
}

func TestCPUIsPlannedWithWhatGoesOn(t *testing.T) {
	t.Parallel()
	const usedByEvent, base = 10e-6, 0.1
	costs := func(rate float64) float64 { return base + usedByEvent*rate }
	m := measured()
	offered(m, 20_000, 20_000, 100, 0, costs(20_000), all...)
	offered(m, 80_000, 79_000, -200, 0, costs(80_000), all...)
	// CPU is all used in these, whatever is offered.
	offered(m, 100_000, 82_000, 0, 0, 0.9, all...)
	offered(m, 110_000, 109_000, 12_000, 0, 0.9, all...)
	offered(m, 120_000, 119_000, 0, 5, 0.9, all...)
	r := planned(t, planOptions{rate: 200_000}, m)
	require.InEpsilon(t, costs(200_000), value(t, r, "consumer_cores"), 1e-9)

	// As capacity has it: the rate that held, and the one above that just did not.
	m = measured()
	offered(m, 100_000, 100_000, 0, 0, 0.9, all...)
	offered(m, 104_000, 103_000, 1000, 0, 0.89, all...)
	r = planned(t, planOptions{rate: 200_000}, m)
	require.InEpsilon(t, 1.8, value(t, r, "consumer_cores"), 0.05)
}

// What is compressed is so from an age on; counts by day are not.
func TestAPlanForTheDisk(t *testing.T) {
	t.Parallel()
	m := measured()
	offered(m, 10_000, 10_000, 0, 0, 0.2, all...)
	for name, size := range map[string]float64{
		"compressed_bytes_per_event": 30, "rollup_bytes_per_minute": 2000, "compressed_rollup_bytes_per_minute": 100, "rollup_bytes_per_day": 5000,
	} {
		m.Add(name, report.Bytes, report.Less, size)
	}
	day := age(24 * time.Hour)
	r := planned(t, planOptions{rate: 10_000, retention: 30 * day, minutes: 90 * day, hours: 400 * day, compression: 7 * day}, m)
	for name, want := range map[string]float64{
		"raw_disk_bytes":                       10_000 * 86_400 * 30 * 300,
		"raw_disk_compressed_bytes":            10_000 * 86_400 * (7*300 + 23*30),
		"rollup_minutes_disk_bytes":            1440 * 90 * 2000,
		"rollup_minutes_disk_compressed_bytes": 1440 * (7*2000 + 83*100),
		"rollup_days_disk_bytes":               400 * 5000,
	} {
		require.InEpsilon(t, want, value(t, r, name), 1e-9, name)
	}
	_, ok := r.Figure("rollup_days_disk_compressed_bytes")
	require.False(t, ok)
}

func TestAPlanNeedsARateThatGoesOn(t *testing.T) {
	t.Parallel()
	m := measured()
	offered(m, 100_000, 70_000, 30_000, 0, 0.9, all...)
	require.ErrorContains(t, planOptions{rate: 200_000, use: 0.7}.compute(report.New("plan", nil), []*report.Report{m}), "measure with a sweep some rates that go on")
}

// In short steps the first batch, which comes late, is much of what is written.
func TestAShortStepIsNotTakenForASaturatedOne(t *testing.T) {
	t.Parallel()
	m := measured()
	offered(m, 200, 170, 40, 0, 0.1, all...)
	require.True(t, saturated(&m.Steps[0]))
	m.Steps[0].Add("duration_seconds", report.Seconds, report.Neither, 2)
	m.Steps[0].Add("batch_events", report.Number, report.Neither, 50)
	require.False(t, saturated(&m.Steps[0]))
}

func TestIngestionIsPlannedByWhatCollectMeasured(t *testing.T) {
	t.Parallel()
	m := measured()
	offered(m, 10_000, 10_000, 0, 0, 0.2, all...)
	r := planned(t, planOptions{rate: 100_000}, m)
	require.InEpsilon(t, 2, value(t, r, "ingestion_cores"), 1e-9)
	require.Contains(t, notes(r), "neither HTTP nor the check of their JSON")

	c := report.New("collect", nil)
	c.Add("batched_events_ingestion_cpu_us_per_event", report.Microseconds, report.Less, 30)
	c.Add("single_requests_ingestion_cpu_us_per_request", report.Microseconds, report.Less, 300)
	r = planned(t, planOptions{rate: 100_000}, m, c)
	require.InEpsilon(t, 3, value(t, r, "ingestion_cores"), 1e-9)
	require.NotContains(t, notes(r), "neither HTTP")
	require.Contains(t, notes(r), "300 µs")
	require.InEpsilon(t, 16, value(t, r, "cores_to_provide"), 1e-9) // (3 + 4 × 2) / 0.7
}

// The CPU of servers that are given, or in Docker elsewhere, is not to be seen.
func TestCoresAreNotSummedWithoutThoseOfTheServers(t *testing.T) {
	t.Parallel()
	m := measured()
	offered(m, 10_000, 10_000, 0, 0, 0.2, rig.Generator, rig.Consumer, rig.API)
	r := planned(t, planOptions{rate: 100_000}, m)
	require.NotZero(t, value(t, r, "consumer_cores"))
	for _, name := range []string{"cores_to_provide", "partitions"} {
		_, ok := r.Figure(name)
		require.False(t, ok, name)
	}
	require.Contains(t, notes(r), "redis, postgres took")
}
