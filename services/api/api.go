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
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"weir/migrations"
	"weir/services/api/internal/access"
	"weir/services/api/internal/live"
	"weir/services/api/internal/query"
	"weir/services/api/internal/status"
	"weir/services/shared/config"
	"weir/services/shared/event"
	"weir/services/shared/httpserver"
	"weir/services/shared/logging"
	"weir/services/shared/pgpool"
	"weir/services/shared/process"
	"weir/services/shared/redisclient"
	"weir/services/shared/retry"
	"weir/services/shared/rollup"
	"weir/services/shared/telemetry"
)

// Config is what the service is told.
type Config struct {
	config.Base
	Stream   config.Stream
	Redis    redisclient.Config
	Postgres pgpool.Config
	Live     live.Config

	Group            string        `env:"CONSUMER_GROUP" default:"weir" help:"Consumer group that the consumers share."`
	Port             int           `env:"API_PORT" default:"3001" min:"0" max:"65535" help:"Port of the api; 0 takes a free one."`
	ReadKeys         []string      `env:"API_READ_KEYS" help:"Keys that may read, separated by commas; without any, everybody may, in development only."`
	ReadKeysFile     string        `env:"API_READ_KEYS_FILE" help:"File with these keys instead, one a line; read anew when it changes, so that keys are exchanged without a restart."`
	ReadURL          string        `env:"POSTGRES_READ_URL" help:"Address of a streaming replica, which answers the questions then; POSTGRES_URL does without one, and while it is away. The live feed reads from POSTGRES_URL always."`
	StatementTimeout time.Duration `env:"API_STATEMENT_TIMEOUT" default:"10s" min:"100ms" max:"10m" help:"How long the database may work on one question."`
	RollupMemory     int           `env:"API_ROLLUP_MEMORY_MIB" default:"64" min:"1" max:"65536" help:"How much of the rollups is remembered, in MiB, so that a question reads only what changed."`
	EventMemory      int           `env:"API_EVENT_MEMORY_MIB" default:"128" min:"0" max:"65536" help:"How much is remembered of the events that funnels, paths, sessions and retention read, in MiB: some 34 bytes an event. 0 remembers nothing."`

	// For tests. The default logger writes to standard output; Listening is called
	// with the address once connections are taken.
	Logger    *slog.Logger      `env:"-"`
	Listening func(addr string) `env:"-"`
}

// Validate refuses to be open in production, and an address that cannot be read.
func (c Config) Validate() error {
	_, err := access.New(c.readKeys(), nil, nil)
	if c.ReadURL != "" && (pgpool.Config{URL: c.ReadURL}).Validate() != nil {
		err = errors.Join(err, errors.New("POSTGRES_READ_URL must look like postgres://user:password@host:port/database"))
	}
	if c.Production() && !c.readKeys().Given() {
		err = errors.Join(err, errors.New("API_READ_KEYS is required when APP_ENV is production, or API_READ_KEYS_FILE"))
	}
	return err
}

func (c Config) readKeys() access.Source {
	return access.Source{Setting: "API_READ_KEYS", Keys: c.ReadKeys, File: c.ReadKeysFile}
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
	tracer, stopTraces, err := telemetry.StartTraces(ctx, cfg.Traces, "api", log)
	if err != nil {
		return err
	}
	defer stopTraces()
	registry := telemetry.NewRegistry()
	pools := map[string]*pgxpool.Pool{"main": pool}
	var replica *query.Replica
	if cfg.ReadURL != "" {
		reading := cfg.Postgres
		reading.URL = cfg.ReadURL
		reads, err := pgpool.New(ctx, reading, "api")
		if err != nil {
			return err
		}
		defer reads.Close()
		pools["read"] = reads
		replica = query.NewReplica(reads, pool, log, registry)
		replica.Watch(ctx)
	}
	registry.MustRegister(pgpool.Metrics(pools), redisclient.Metrics(client))
	reader := query.New(pool, replica, cfg.StatementTimeout, log)
	if err := connect(ctx, log, client, reader); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while it waited
		}
		return err
	}

	checks := []httpserver.Check{
		{Name: "redis", Ping: func(ctx context.Context) error { return client.Ping(ctx).Err() }},
		{Name: "postgres", Ping: reader.Ping},
	}
	pipeline := status.Source{Reader: reader, Redis: client, Streams: event.StreamKeys(cfg.Stream.Name, cfg.Stream.Partitions), Channel: rollup.Channel(cfg.Stream.Name), Group: cfg.Group}
	tickets := &access.Tickets{Client: client, Stream: cfg.Stream.Name}
	keys, err := access.New(cfg.readKeys(), tickets, log)
	if err != nil {
		return err
	}
	// The live feed starts from the primary: what consumers have published, a replica may
	// not have yet, and which of them it has it does not tell.
	hub := live.New(cfg.Live, cfg.Stream.Name, client, query.New(pool, nil, cfg.StatementTimeout, log), log, registry)
	operations := routes(registry, keys, reader, cfg, hub, pipeline, checks...)
	operations.Trace(tracer)
	if cfg.Pprof {
		operations.RegisterProfiles()
	}
	server := httpserver.Server{
		Addr: net.JoinHostPort(cfg.BindHost, strconv.Itoa(cfg.Port)), Log: log, Grace: cfg.ShutdownGrace, TLS: cfg.TLS, Listening: cfg.Listening,
		API: operations, Guard: hub.Guard,
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return hub.Run(ctx) })
	if replica != nil {
		group.Go(func() error { return replica.Run(ctx) })
	}
	group.Go(func() error { return server.Run(ctx) })
	return group.Wait()
}

// connect tests the connections, and that the schema, as questions see it, is not behind.
func connect(ctx context.Context, log *slog.Logger, client redis.UniversalClient, reader *query.Reader) error {
	if err := redisclient.Connect(ctx, client, log); err != nil {
		return err
	}
	if err := retry.Connect(ctx, log, "PostgreSQL", reader.Ping); err != nil {
		return err
	}
	log.Info("All database connections successful.")
	_, err := reader.Read(ctx, func(ctx context.Context, tx pgx.Tx) error { return migrations.Check(ctx, tx) })
	return err
}

// Commands are what weir-api can do besides serving.
func Commands() []process.Subcommand[Config] {
	return []process.Subcommand[Config]{process.Health(func(c Config) (config.Base, int) { return c.Base, c.Port })}
}

// OpenAPI is the document of the service's HTTP interface.
func OpenAPI() *huma.OpenAPI {
	return routes(prometheus.NewRegistry(), access.Keys{}, nil, Config{RollupMemory: 1}, nil, status.Source{}).OpenAPI()
}
