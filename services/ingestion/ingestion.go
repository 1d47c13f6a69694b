// Package ingestion takes events over HTTP, makes events up, and publishes both to
// the Redis Streams.
package ingestion

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"weir/services/ingestion/internal/cloudevent"
	"weir/services/ingestion/internal/collector"
	"weir/services/ingestion/internal/gate"
	"weir/services/ingestion/internal/generator"
	"weir/services/ingestion/internal/key"
	"weir/services/ingestion/internal/pixel"
	"weir/services/ingestion/internal/publish"
	"weir/services/ingestion/internal/segment"
	"weir/services/shared/config"
	"weir/services/shared/event"
	"weir/services/shared/httpserver"
	"weir/services/shared/logging"
	"weir/services/shared/redisclient"
	"weir/services/shared/telemetry"
)

// Config is what ingestion is told, by the environment or by a test.
type Config struct {
	config.Base
	Redis     redisclient.Config
	Stream    config.Stream
	Publish   publish.Config
	Gate      gate.Config
	Generator generator.Config
	Collector collector.Config

	Port      int      `env:"INGESTION_PORT" default:"3002" min:"0" max:"65535" help:"Port of ingestion's API."`
	WriteKeys []string `env:"INGESTION_WRITE_KEYS" help:"Write keys, source=key separated by commas. Without any, in development, a key that a client gives is taken as the source's name."`

	Logger    *slog.Logger      `env:"-"` // default: standard output
	Listening func(addr string) `env:"-"` // called once the API takes connections
}

// Validate implements config.Validator.
func (c Config) Validate() error {
	_, err := key.Parse(c.WriteKeys)
	if c.Production() && len(c.WriteKeys) == 0 {
		err = errors.Join(err, errors.New("INGESTION_WRITE_KEYS is required when APP_ENV is production"))
	}
	return err
}

// Run takes and generates events until ctx ends. It returns nil after a clean stop.
func Run(ctx context.Context, c Config) error {
	log := c.Logger
	if log == nil {
		log = logging.New(os.Stdout, "ingestion", c.LogFormat, c.LogLevel)
	}
	keys, err := key.Parse(c.WriteKeys)
	if err != nil {
		return err
	}
	client, err := redisclient.New(c.Redis, redisclient.FailFast)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := redisclient.Connect(ctx, client, log); err != nil {
		if ctx.Err() != nil {
			return nil // called off
		}
		return err
	}
	log.Info("All database connections successful.")

	registry := telemetry.NewRegistry()
	streams := event.StreamKeys(c.Stream.Name, c.Stream.Partitions)
	watch := gate.New(c.Gate, client, streams, log, registry)
	watch.Measure(ctx)
	publisher := publish.New(c.Publish, client, streams, watch, registry)
	if err := publisher.Check(ctx); err != nil {
		return err
	}
	generate, err := generator.New(c.Generator, publisher, c.Stream.Partitions, log, registry)
	if err != nil {
		return err
	}
	collect := &collector.Collector{Config: c.Collector, Keys: keys, Publisher: publisher, Partitions: c.Stream.Partitions}
	api := newAPI(collect, registry)
	generate.Register(api, c.Production())
	api.RegisterHealth(registry, httpserver.Check{Name: "redis", Ping: func(ctx context.Context) error { return client.Ping(ctx).Err() }})
	if c.Pprof {
		api.RegisterProfiles()
	}
	server := httpserver.Server{
		Addr: net.JoinHostPort(c.BindHost, strconv.Itoa(c.Port)), API: api, Log: log,
		Grace: c.ShutdownGrace, Listening: c.Listening, Guard: collect.Guard,
	}

	// The publisher ends after those that publish: what was accepted is flushed.
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublishing()
	var publishers errgroup.Group
	publishers.Go(func() error { return publisher.Run(publishing) })

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error { return watch.Run(ctx) })
	group.Go(func() error { return generate.Run(ctx) })
	err = group.Wait()
	stopPublishing()
	err = errors.Join(err, publishers.Wait())
	log.Info("Stopped.")
	return err
}

// newAPI makes the API with all the ways for events to come in.
func newAPI(collect *collector.Collector, registry prometheus.Registerer) httpserver.API {
	api := httpserver.NewAPI("Weir ingestion", "Takes analytics events and publishes them to the stream.")
	collect.Register(api, registry)
	segment.Register(api, collect)
	cloudevent.Register(api, collect)
	pixel.Register(api, collect)
	return api
}

// OpenAPI returns the description of ingestion's API.
func OpenAPI() *huma.OpenAPI {
	registry := prometheus.NewRegistry()
	api := newAPI(&collector.Collector{}, registry)
	new(generator.Generator).Register(api, false)
	api.RegisterHealth(registry)
	return api.OpenAPI()
}
