package generator

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"

	"weir/loadgen"
	"weir/services/shared/meter"
)

// late is how much later than due an item may be in Redis before it counts as late:
// well above what a tick and a round trip take.
const late = 100 * time.Millisecond

// Statistics is what became of a run's items.
type Statistics struct {
	metrics *metrics // nil: none
	rate    meter.Meter

	mu                      sync.Mutex
	offered, taken, refused int64
	lateItems               int64
	kinds                   [4]int64      // of those taken
	took                    time.Duration // from the start until the last was taken
	response                *hdrhistogram.Histogram
	service                 *hdrhistogram.Histogram
}

// The histograms count microseconds up to an hour, with an error of a thousandth.
const longest = time.Hour

// NewStatistics returns statistics that are zero.
func NewStatistics() *Statistics {
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest.Microseconds(), 3) }
	return &Statistics{response: histogram(), service: histogram()}
}

// offer counts items that were due.
func (s *Statistics) offer(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offered += int64(n)
}

// record counts what became of a batch whose sending began at begun.
func (s *Statistics) record(b *Batch, r *Run, begun time.Time, taken bool) {
	now, n := time.Now(), b.Len()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !taken {
		s.refused += int64(n)
		s.metrics.refuse(n)
		return
	}
	s.took = now.Sub(r.Start)
	s.taken += int64(n)
	s.rate.Add(now, n)
	for kind, n := range b.kinds {
		s.kinds[kind] += n
	}
	s.metrics.take(b)
	_ = s.service.RecordValue(micros(now.Sub(begun)))
	if r.Unpaced {
		return
	}
	// From when each was due, not from when it was sent: what waited in line because
	// those before it were slow counts too.
	since := now.Sub(r.Start)
	for _, at := range b.at {
		behind := since - at
		if behind > late {
			s.lateItems++
		}
		_ = s.response.RecordValue(micros(behind))
		s.metrics.lag(behind)
	}
}

func micros(d time.Duration) int64 { return min(max(d, 0), longest).Microseconds() }

// Percentiles are times in milliseconds.
type Percentiles struct {
	P50  float64 `json:"p50" doc:"Half took no longer" example:"3.2"`
	P90  float64 `json:"p90" example:"5.1"`
	P99  float64 `json:"p99" example:"8.7"`
	P999 float64 `json:"p999" example:"12.4"`
	Max  float64 `json:"max" example:"15.3"`
}

func percentiles(h *hdrhistogram.Histogram) Percentiles {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Percentiles{at(50), at(90), at(99), at(99.9), float64(h.Max()) / 1000}
}

// Kinds counts items by what they are to the pipeline.
type Kinds struct {
	Fresh     int64 `json:"fresh" doc:"Happened as they were sent" example:"98600"`
	Late      int64 `json:"late" doc:"Happened before: the profile's injected late events" example:"1000"`
	Duplicate int64 `json:"duplicate" doc:"Sent before" example:"300"`
	Malformed int64 `json:"malformed" doc:"No valid events" example:"100"`
}

// Figures are statistics at one moment.
type Figures struct {
	Offered   int64       `json:"offered" doc:"Events that were due and made" example:"100000"`
	Published int64       `json:"published" doc:"Of those, events that were taken" example:"100000"`
	Refused   int64       `json:"refused" doc:"Events that were not taken, and given up; only when overload is offer" example:"0"`
	Late      int64       `json:"late" doc:"Of those published, events that were taken more than 100 ms after they were due" example:"12"`
	Kinds     Kinds       `json:"kinds" doc:"What was published, by kind"`
	Rate      float64     `json:"achieved_rate" doc:"Events published per second, mean of the last ten whole seconds" example:"999.8"`
	Mean      float64     `json:"mean_rate" doc:"Events published per second, from the start until the last was taken" example:"1000.1"`
	Response  Percentiles `json:"latency_ms" doc:"Milliseconds from when an event was due until it was taken: waiting in line because of others is not hidden"`
	Service   Percentiles `json:"publish_ms" doc:"Milliseconds that one batch's publishing took"`
}

// Figures returns the statistics now.
func (s *Statistics) Figures() Figures {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := Figures{
		Offered: s.offered, Published: s.taken, Refused: s.refused, Late: s.lateItems,
		Kinds: Kinds{s.kinds[loadgen.Fresh], s.kinds[loadgen.Late], s.kinds[loadgen.Duplicate], s.kinds[loadgen.Malformed]},
		Rate:  s.rate.PerSecond(time.Now()), Response: percentiles(s.response), Service: percentiles(s.service),
	}
	if s.took > 0 {
		f.Mean = float64(s.taken) / s.took.Seconds()
	}
	return f
}

// metrics are the same for Prometheus, over all runs.
type metrics struct {
	items    *prometheus.CounterVec
	refused  prometheus.Counter
	lateness prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_ingestion_generated_events_total", Help: "Made-up events published, by kind: fresh, late, duplicate or malformed.",
		}, []string{"kind"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_ingestion_generator_refused_events_total", Help: "Made-up events that were refused, and given up.",
		}),
		lateness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_ingestion_generator_lateness_seconds", Help: "Time from when a made-up event was due until Redis had it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16), NativeHistogramBucketFactor: 1.1,
		}),
	}
	registry.MustRegister(m.items, m.refused, m.lateness)
	return m
}

func (m *metrics) take(b *Batch) {
	if m == nil {
		return
	}
	for kind, n := range b.kinds {
		m.items.WithLabelValues(loadgen.Kind(kind).String()).Add(float64(n))
	}
}

func (m *metrics) refuse(n int) {
	if m != nil {
		m.refused.Add(float64(n))
	}
}

func (m *metrics) lag(d time.Duration) {
	if m != nil {
		m.lateness.Observe(d.Seconds())
	}
}
