// Package live shows the last hour as it happens: a snapshot, then what changes.
//
// A consumer publishes each batch's deltas after its commit. The feed (feed.go)
// receives them; the hub (hub.go) keeps the state and hands each change to the clients
// that want it (subscription.go), marshalled once for all of a lane (lane.go): counts by
// type (window.go), values of dimensions (values.go), sampled events (sample.go). A client
// (client.go) is one connection, a WebSocket (socket.go, and wire.go for what goes out) or
// server-sent events (stream.go). What the hub knows comes from a picture of the database
// (picture.go) and the batches that the picture does not have, so the numbers are exact from
// the first message on.
package live

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"weir/services/api/internal/query"
	"weir/services/shared/rollup"
)

// Config is what operators may set.
type Config struct {
	Origins      []string      `env:"LIVE_ORIGINS" help:"Origins whose pages may open the live feed and get tickets for it, such as https://example.com or *.example.com; the service's own host always may."`
	ClientBuffer int           `env:"LIVE_CLIENT_BUFFER" default:"64" min:"16" max:"10000" help:"Messages that wait for one live client; one more and it is closed as too slow. They are shared, so a client costs little."`
	MaxClients   int           `env:"LIVE_MAX_CLIENTS" default:"10000" min:"1" help:"Live clients that one instance takes."`
	Interval     time.Duration `env:"LIVE_INTERVAL" default:"100ms" min:"10ms" max:"10s" help:"Shortest time between two live updates of a client; what happens within it is one update. More than 1,000 clients are told in turns within it."`
	Heartbeat    time.Duration `env:"LIVE_HEARTBEAT" default:"15s" min:"100ms" max:"5m" help:"How often live clients are told that all is well."`
	Reconcile    time.Duration `env:"LIVE_RECONCILE" default:"10s" min:"1s" max:"1h" help:"How often the live numbers are compared with the database."`
}

// New makes the live feed of a stream. It does nothing until Run.
func New(cfg Config, stream string, conn redis.UniversalClient, reader *query.Reader, log *slog.Logger, registry *prometheus.Registry) *Hub {
	return &Hub{
		cfg: cfg, log: log, metrics: newMetrics(registry),
		feed:    feed{conn, rollup.Channel(stream), log},
		painter: painter{reader},
		signals: make(chan signal, 64), pictures: make(chan picture),
		calls: make(chan func(context.Context)), done: make(chan struct{}),
		lanes: []*lane{newLane()}, samplers: samplers{},
	}
}
