package pipeline

import (
	"github.com/prometheus/client_golang/prometheus"

	"weir/services/consumer/internal/batch"
)

type metrics struct {
	events                *prometheus.CounterVec
	dead                  *prometheus.CounterVec
	batch, decode, flush  prometheus.Histogram
	failures, trimmed     prometheus.Counter
	inVain                prometheus.Counter
	lastFlush, breaker    prometheus.Gauge
	batchLimit            prometheus.Gauge
	backlog, pending, age *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_consumer_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_consumer_" + name, Help: help})
	}
	byStream := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_consumer_" + name, Help: help}, []string{"stream"})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_consumer_" + name, Help: help, Buckets: buckets, NativeHistogramBucketFactor: 1.1,
		})
	}
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 16)
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_consumer_events_total",
			Help: "Entries taken from the stream, by what became of them: stored, duplicate or dead.",
		}, []string{"outcome"}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_consumer_dead_letters_total", Help: "Events that became dead letters, by the reason's stage: decode (not JSON), validate (breaks a rule) or store (PostgreSQL refused the row).",
		}, []string{"stage"}),
		batch:      histogram("batch_events", "Entries per transaction.", prometheus.ExponentialBuckets(1, 4, 10)),
		decode:     histogram("decode_duration_seconds", "Time to decode and validate one batch.", seconds),
		flush:      histogram("flush_duration_seconds", "Time of one transaction that committed.", seconds),
		failures:   counter("flush_failures_total", "Transactions that failed and were tried again."),
		trimmed:    counter("trimmed_entries_total", "Acknowledged entries removed from the stream."),
		inVain:     counter("read_in_vain_entries_total", "Entries that were read from the stream, but that another consumer of the group took first."),
		lastFlush:  gauge("last_flush_timestamp_seconds", "When a batch last committed, in Unix time."),
		batchLimit: gauge("batch_limit_events", "Most events that a batch may have now: it grows with the backlog and shrinks with the time of transactions."),
		breaker:    gauge("breaker_state", "State of the circuit breaker: 0 closed, 1 half-open, 2 open."),
		backlog:    byStream("backlog_events", "Entries not acknowledged, waiting and pending."),
		pending:    byStream("pending_events", "Entries given to a consumer and not acknowledged."),
		age:        byStream("backlog_age_seconds", "Age of the oldest entry that is not acknowledged."),
	}
	for _, outcome := range []string{"stored", "duplicate", "dead"} {
		m.events.WithLabelValues(outcome) // from 0 on, so that rates see the first one
	}
	for _, stage := range []batch.Stage{batch.Decode, batch.Validate, batch.Store} {
		m.dead.WithLabelValues(string(stage))
	}
	r.MustRegister(m.events, m.dead, m.batch, m.decode, m.flush, m.failures, m.trimmed, m.inVain, m.lastFlush, m.breaker, m.batchLimit, m.backlog, m.pending, m.age)
	return m
}
