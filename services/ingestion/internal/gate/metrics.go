package gate

import "github.com/prometheus/client_golang/prometheus"

func (g *Gate) register(registry prometheus.Registerer) {
	g.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_ingestion_refusals_total", Help: "Requests and batches that were not let in, by reason: backlog, age, memory, away or busy.",
	}, []string{"reason"})
	for _, why := range reasons {
		g.refused.WithLabelValues(string(why)) // from 0 on
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_ingestion_" + name, Help: help}, func() float64 {
			g.mu.Lock()
			defer g.mu.Unlock()
			return value()
		})
	}
	registry.MustRegister(g.refused,
		gauge("gate_open", "1 while events are let in, 0 while they are refused.", func() float64 {
			if g.reason == "" {
				return 1
			}
			return 0
		}),
		gauge("backlog_events", "Events that wait for the consumer, as last measured.", func() float64 { return float64(g.last.events) }),
		gauge("backlog_age_seconds", "Age of the oldest event that waits.", func() float64 { return g.last.age.Seconds() }),
		gauge("drain_events_per_second", "Events per second that the consumer took away when it last had enough to do.", func() float64 { return g.last.drain }),
		gauge("redis_memory_bytes", "Memory that Redis uses.", func() float64 { return float64(g.last.memory) }),
		gauge("redis_memory_limit_bytes", "Memory that ingestion lets Redis grow to.", func() float64 { return float64(g.last.limit) }),
		gauge("in_flight_bytes", "Bytes of events on their way to Redis.", func() float64 { return float64(g.flying.bytes) }))
}
