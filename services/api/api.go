// Package api is the service that answers: totals and time series, the stored
// events, and the live feed.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"weir/migrations"
	"weir/services/api/internal/access"
	"weir/services/api/internal/live"
	"weir/services/api/internal/query"
	"weir/services/shared/config"
	"weir/services/shared/httpserver"
	"weir/services/shared/logging"
	"weir/services/shared/pgpool"
	"weir/services/shared/redisclient"
	"weir/services/shared/telemetry"
)

// Config is what the service is told.
type Config struct {
	config.Base
	Stream   config.Stream
	Redis    redisclient.Config
	Postgres pgpool.Config
	Live     live.Config

	Port             int           `env:"API_PORT" default:"3001" min:"0" max:"65535" help:"Port of the api; 0 takes a free one."`
	ReadKeys         []string      `env:"API_READ_KEYS" help:"Keys that may read, separated by commas; without any, everybody may, in development only."`
	StatementTimeout time.Duration `env:"API_STATEMENT_TIMEOUT" default:"10s" min:"100ms" max:"10m" help:"How long the database may work on one question."`

	// For tests. The default logger writes to standard output; Listening is called
	// with the address once connections are taken.
	Logger    *slog.Logger      `env:"-"`
	Listening func(addr string) `env:"-"`
}

// Validate refuses to be open in production.
func (c Config) Validate() error {
	if c.Production() && len(c.ReadKeys) == 0 {
		return errors.New("API_READ_KEYS is required when APP_ENV is production")
	}
	return nil
}

// Run serves until ctx ends, then finishes the requests under way, closes the live
// clients and returns nil. It returns an error when the schema is behind or the
// address cannot be had; while a server is away it waits.
func Run(ctx context.Context, cfg Config) (err error) {
	log := cfg.Logger
	if log == nil {
		log = logging.New(os.Stdout, "api", cfg.LogFormat, cfg.LogLevel)
	}
	client, err := redisclient.New(cfg.Redis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	pool, err := pgpool.New(ctx, cfg.Postgres, "api")
	if err != nil {
		return err
	}
	defer pool.Close()

	if err := connect(ctx, log, client, pool); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while it waited
		}
		return err
	}

	registry := telemetry.NewRegistry()
	reader := query.New(pool, cfg.StatementTimeout, log)
	hub := live.New(cfg.Live, cfg.Stream.Name, client, reader, log, registry)
	server := httpserver.Server{
		Addr: net.JoinHostPort(cfg.BindHost, strconv.Itoa(cfg.Port)), Log: log, Grace: cfg.ShutdownGrace, Listening: cfg.Listening,
		API: routes(registry, access.New(cfg.ReadKeys), reader, hub,
			httpserver.Check{Name: "redis", Ping: func(ctx context.Context) error { return client.Ping(ctx).Err() }},
			httpserver.Check{Name: "postgres", Ping: pool.Ping}),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return hub.Run(ctx) })
	group.Go(func() error { return server.Run(ctx) })
	return group.Wait()
}

// connect tests the connections, and that the schema is not behind.
func connect(ctx context.Context, log *slog.Logger, client *redis.Client, pool *pgxpool.Pool) error {
	if err := redisclient.Connect(ctx, client, log); err != nil {
		return err
	}
	if err := pgpool.Connect(ctx, pool, log); err != nil {
		return err
	}
	log.Info("All database connections successful.")
	return migrations.Check(ctx, pool)
}

// OpenAPI is the document of the service's HTTP interface.
func OpenAPI() *huma.OpenAPI {
	return routes(prometheus.NewRegistry(), access.Keys{}, nil, nil).OpenAPI()
}
