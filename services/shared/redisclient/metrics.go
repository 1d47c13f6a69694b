package redisclient

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// pooled is a client that tells the figures of its pool.
type pooled interface{ PoolStats() *redis.PoolStats }

type poolMetrics struct{ clients []pooled }

var (
	connections = prometheus.NewDesc("weir_redis_pool_connections", "Connections to Redis, by state: used or idle.", []string{"state"}, nil)
	timeouts    = prometheus.NewDesc("weir_redis_pool_timeouts_total", "Times that no connection was free in time.", nil, nil)
	opened      = prometheus.NewDesc("weir_redis_pool_misses_total", "Times that a connection had to be opened, as none was idle.", nil, nil)
	stale       = prometheus.NewDesc("weir_redis_pool_stale_connections_total", "Connections that were found dead.", nil, nil)
)

// Metrics returns a collector of the figures of the clients' pools, added up.
func Metrics[C pooled](clients ...C) prometheus.Collector {
	m := poolMetrics{}
	for _, c := range clients {
		m.clients = append(m.clients, c)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m poolMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connections, timeouts, opened, stale} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m poolMetrics) Collect(to chan<- prometheus.Metric) {
	var total redis.PoolStats
	for _, c := range m.clients {
		s := c.PoolStats()
		total.TotalConns += s.TotalConns
		total.IdleConns += s.IdleConns
		total.Timeouts += s.Timeouts
		total.Misses += s.Misses
		total.StaleConns += s.StaleConns
	}
	to <- prometheus.MustNewConstMetric(connections, prometheus.GaugeValue, float64(total.TotalConns-min(total.IdleConns, total.TotalConns)), "used")
	to <- prometheus.MustNewConstMetric(connections, prometheus.GaugeValue, float64(total.IdleConns), "idle")
	to <- prometheus.MustNewConstMetric(timeouts, prometheus.CounterValue, float64(total.Timeouts))
	to <- prometheus.MustNewConstMetric(opened, prometheus.CounterValue, float64(total.Misses))
	to <- prometheus.MustNewConstMetric(stale, prometheus.CounterValue, float64(total.StaleConns))
}
