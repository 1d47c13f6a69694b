// Package consumer reads events from the Redis Streams, validates them, and writes
// each exactly once to TimescaleDB, with its rollups.
package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"weir/migrations"
	"weir/services/consumer/internal/blockrange"
	"weir/services/consumer/internal/control"
	"weir/services/consumer/internal/deadletter"
	"weir/services/consumer/internal/fold"
	"weir/services/consumer/internal/pipeline"
	"weir/services/consumer/internal/retention"
	"weir/services/consumer/internal/step"
	"weir/services/consumer/internal/store"
	"weir/services/consumer/internal/stream"
	"weir/services/shared/access"
	"weir/services/shared/config"
	"weir/services/shared/event"
	"weir/services/shared/httpserver"
	"weir/services/shared/logging"
	"weir/services/shared/pgpool"
	"weir/services/shared/redisclient"
	"weir/services/shared/rollup"
	"weir/services/shared/telemetry"
)

// Config is what the consumer is told, by the environment or by a test.
type Config struct {
	config.Base
	Redis     redisclient.Config
	Postgres  pgpool.Config
	Stream    config.Stream
	Pipeline  pipeline.Config
	Retention retention.Config
	Admin     access.Admin

	Port      int           `env:"CONSUMER_PORT" default:"3003" min:"0" max:"65535" help:"Port of the control API."`
	FoldEvery time.Duration `env:"ROLLUP_FOLD_INTERVAL" default:"1s" min:"50ms" max:"10m" help:"How often the log of deltas is folded into the rollups. Answers are exact in between; a longer log makes them slower."`

	Logger    *slog.Logger      `env:"-"` // default: standard output
	Listening func(addr string) `env:"-"` // called once the API takes connections
	Step      func(Step)        `env:"-"` // called at each step of a flush, for tests that end the process there
	Uncounted bool              `env:"-"` // without rollups, for the benchmark that measures what they cost
}

// Step is a point of the flush, see package step.
type Step = step.Step

// Steps lists the steps of a batch: one of first deliveries, and one that may hold
// events that are stored already.
func Steps() (first, redelivered []Step) { return step.Optimistic(), step.Careful() }

// Validate implements config.Validator.
func (c Config) Validate() (err error) {
	if c.Pipeline.ClaimIdle <= c.Pipeline.FlushTimeout {
		err = errors.New("CLAIM_MIN_IDLE must be above FLUSH_TIMEOUT, or entries are taken over while they are being written")
	}
	if c.Production() && !c.Admin.Source().Given() {
		err = errors.Join(err, errors.New("ADMIN_KEYS is required when APP_ENV is production, or ADMIN_KEYS_FILE"))
	}
	return err
}

// Run consumes until ctx ends. It returns nil after a clean stop.
func Run(ctx context.Context, c Config) error {
	log := c.Logger
	if log == nil {
		log = logging.New(os.Stdout, "consumer", c.LogFormat, c.LogLevel)
	}
	if c.Pipeline.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find a name: %w; set CONSUMER_NAME", err)
		}
		c.Pipeline.Name = host
	}
	admin, err := access.New("admin", c.Admin.Source(), log)
	if err != nil {
		return err
	}

	// Blocking reads have connections of their own: they would use up the pool that
	// everything else waits for.
	reading, err := redisclient.New(c.Redis)
	if err != nil {
		return err
	}
	defer reading.Close()
	client, err := redisclient.New(c.Redis)
	if err != nil {
		return err
	}
	defer client.Close()
	pool, err := pgpool.New(ctx, c.Postgres, "consumer")
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := errors.Join(redisclient.Connect(ctx, client, log), pgpool.Connect(ctx, pool, log)); err != nil {
		return stopped(ctx, err)
	}
	log.Info("All database connections successful.")
	if err := migrations.Check(ctx, pool); err != nil {
		return stopped(ctx, err)
	}

	tracer, stopTraces, err := telemetry.StartTraces(ctx, c.Traces, "consumer", log)
	if err != nil {
		return err
	}
	defer stopTraces()
	registry := telemetry.NewRegistry()
	registry.MustRegister(pgpool.Metrics(map[string]*pgxpool.Pool{"main": pool}), redisclient.Metrics(reading, client))

	p := &pipeline.Pipeline{
		Config: c.Pipeline, Log: log, Grace: c.ShutdownGrace,
		Store: &store.Store{Pool: pool, Timeout: c.Pipeline.FlushTimeout, Step: c.Step},
		Live:  client, Channel: rollup.Channel(c.Stream.Name), Step: c.Step, Uncounted: c.Uncounted, Tracer: tracer,
	}
	for _, key := range event.StreamKeys(c.Stream.Name, c.Stream.Partitions) {
		p.Groups = append(p.Groups, stream.Group{Reading: reading, Client: client, Key: key, Name: c.Pipeline.Group})
	}
	p.Init(registry)

	operations := control.Control{Pipeline: p, Log: log, Letters: &deadletter.Letters{
		Pool: pool, Client: client, Streams: event.StreamKeys(c.Stream.Name, c.Stream.Partitions),
	}}
	api := operations.API(admin, registry,
		httpserver.Check{Name: "redis", Ping: func(ctx context.Context) error { return client.Ping(ctx).Err() }},
		httpserver.Check{Name: "postgres", Ping: pool.Ping})
	api.Trace(tracer)
	if c.Pprof {
		api.RegisterProfiles()
	}
	server := httpserver.Server{
		Addr: net.JoinHostPort(c.BindHost, strconv.Itoa(c.Port)), API: api, Log: log,
		Grace: c.ShutdownGrace, TLS: c.TLS, Listening: c.Listening,
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error { return p.Run(ctx) })
	folder := fold.New(pool, c.FoldEvery, log, registry)
	folder.GiveWay = p.GiveWay
	group.Go(func() error { return folder.Run(ctx) })
	group.Go(func() error { return (&blockrange.Summarizer{Pool: pool, Log: log, GiveWay: p.GiveWay}).Run(ctx) })
	group.Go(func() error { return retention.New(c.Retention, pool, log, registry).Run(ctx) })
	err = group.Wait()
	log.Info("Stopped.")
	return err
}

// stopped returns nil when the start failed only because it was called off.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// OpenAPI returns the description of the consumer's control API.
func OpenAPI() *huma.OpenAPI {
	return new(control.Control).API(access.Keys{}, prometheus.NewRegistry()).OpenAPI()
}
