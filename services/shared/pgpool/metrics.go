package pgpool

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// poolMetrics tells the figures of pools, read when they are asked for.
type poolMetrics struct{ pools map[string]*pgxpool.Pool }

var (
	connections = prometheus.NewDesc("weir_postgres_pool_connections", "Connections to PostgreSQL, by pool and state: acquired, idle or constructing.", []string{"pool", "state"}, nil)
	most        = prometheus.NewDesc("weir_postgres_pool_connections_limit", "Most connections that the pool opens.", []string{"pool"}, nil)
	acquired    = prometheus.NewDesc("weir_postgres_pool_acquires_total", "Connections taken from the pool.", []string{"pool"}, nil)
	waited      = prometheus.NewDesc("weir_postgres_pool_empty_acquires_total", "Connections taken that had to be waited for.", []string{"pool"}, nil)
	waiting     = prometheus.NewDesc("weir_postgres_pool_empty_acquire_wait_seconds_total", "Time waited for connections while the pool was empty.", []string{"pool"}, nil)
	canceled    = prometheus.NewDesc("weir_postgres_pool_canceled_acquires_total", "Connections that were given up waiting for.", []string{"pool"}, nil)
)

// Metrics returns a collector of the pools' figures, by the name given to each.
func Metrics(pools map[string]*pgxpool.Pool) prometheus.Collector { return poolMetrics{pools} }

// Describe implements prometheus.Collector.
func (m poolMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connections, most, acquired, waited, waiting, canceled} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m poolMetrics) Collect(to chan<- prometheus.Metric) {
	for name, pool := range m.pools {
		s := pool.Stat()
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{name}, labels...)...)
		}
		counter := func(d *prometheus.Desc, v float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, name)
		}
		gauge(connections, float64(s.AcquiredConns()), "acquired")
		gauge(connections, float64(s.IdleConns()), "idle")
		gauge(connections, float64(s.ConstructingConns()), "constructing")
		gauge(most, float64(s.MaxConns()))
		counter(acquired, float64(s.AcquireCount()))
		counter(waited, float64(s.EmptyAcquireCount()))
		counter(waiting, s.EmptyAcquireWaitTime().Seconds())
		counter(canceled, float64(s.CanceledAcquireCount()))
	}
}
