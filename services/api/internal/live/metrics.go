package live

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	clients   prometheus.Gauge
	slow      prometheus.Counter
	messages  prometheus.Counter
	batches   *prometheus.CounterVec
	snapshots *prometheus.CounterVec
	current   prometheus.Gauge
}

func newMetrics(registry *prometheus.Registry) *metrics {
	m := &metrics{
		clients: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_api_live_clients", Help: "Live clients connected."}),
		slow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_api_live_slow_closes_total", Help: "Live clients closed because they did not keep up."}),
		messages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_api_live_updates_total", Help: "Live updates made; each goes to up to 1,000 of the clients that want metrics."}),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_api_live_batches_total", Help: "Batches received, by whether they were counted or known from the database already."}, []string{"outcome"}),
		snapshots: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_api_live_epochs_total", Help: "Epochs begun, by reason: subscribed; corrected, after the numbers differed from the database; widened, for the first who wants dimensions."}, []string{"reason"}),
		current: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_api_live_current", Help: "1 while the live numbers are current, 0 while they are not."}),
	}
	registry.MustRegister(m.clients, m.slow, m.messages, m.batches, m.snapshots, m.current)
	return m
}
