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
	"weir/services/shared/access"
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
	Admin     access.Admin

	Port          int      `env:"INGESTION_PORT" default:"3002" min:"0" max:"65535" help:"Port of ingestion's API."`
	WriteKeys     []string `env:"INGESTION_WRITE_KEYS" help:"Write keys, source=key separated by commas. Without any, in development, a key that a client gives is taken as the source's name."`
	WriteKeysFile string   `env:"INGESTION_WRITE_KEYS_FILE" help:"File with these keys instead, one source=key a line; read anew when it changes, so that keys are exchanged without a restart."`

	Logger    *slog.Logger      `env:"-"` // default: standard output
	Listening func(addr string) `env:"-"` // called once the API takes connections
}

// Validate implements config.Validator.
func (c Config) Validate() error {
	_, err := access.NewRing(c.writeKeys(), key.Parse, nil)
	if c.Production() && !c.writeKeys().Given() {
		err = errors.Join(err, errors.New("INGESTION_WRITE_KEYS is required when APP_ENV is production, or INGESTION_WRITE_KEYS_FILE"))
	}
	return err
}

func (c Config) writeKeys() access.Source {
	return access.Source{Setting: "INGESTION_WRITE_KEYS", Keys: c.WriteKeys, File: c.WriteKeysFile}
}

// Run takes and generates events until ctx ends. It returns nil after a clean stop.
func Run(ctx context.Context, c Config) error {
	log := c.Logger
	if log == nil {
		log = logging.New(os.Stdout, "ingestion", c.LogFormat, c.LogLevel)
	}
	keys, err := access.NewRing(c.writeKeys(), key.Parse, log)
	if err != nil {
		return err
	}
	admin, err := access.New("admin", c.Admin.Source(), log)
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

	tracer, stopTraces, err := telemetry.StartTraces(ctx, c.Traces, "ingestion", log)
	if err != nil {
		return err
	}
	defer stopTraces()
	registry := telemetry.NewRegistry()
	registry.MustRegister(redisclient.Metrics(client))
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
	api := newAPI(collect, registry, func(api httpserver.API) {
		generate.Register(api, admin, c.Production() && !c.Admin.Source().Given())
	}, httpserver.Check{Name: "redis", Ping: func(ctx context.Context) error { return client.Ping(ctx).Err() }})
	api.Trace(tracer)
	if c.Pprof {
		api.RegisterProfiles()
	}
	server := httpserver.Server{
		Addr: net.JoinHostPort(c.BindHost, strconv.Itoa(c.Port)), API: api, Log: log,
		Grace: c.ShutdownGrace, TLS: c.TLS, Listening: c.Listening, Guard: collect.Guard,
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

// newAPI makes the API: all the ways for events to come in, and the generator's control.
func newAPI(collect *collector.Collector, registry *prometheus.Registry, control func(httpserver.API), checks ...httpserver.Check) httpserver.API {
	api := httpserver.NewAPI("Weir ingestion", "Takes analytics events and publishes them to the stream.")
	collect.Register(api, registry)
	segment.Register(api, collect)
	cloudevent.Register(api, collect)
	pixel.Register(api, collect)
	control(api)
	api.RegisterHealth(registry, checks...)
	api.Describe(map[string]string{
		"CloudEvents": "Events in the form of CloudEvents 1.0",
		"Events":      "Events in Weir's own form",
		"Generator":   "Made-up traffic: what it is like, and whether it runs",
		"Health":      "For orchestrators and load balancers",
		"Segment":     "Events as Segment's SDKs send them",
	})
	return api
}

// OpenAPI returns the description of ingestion's API.
func OpenAPI() *huma.OpenAPI {
	return newAPI(&collector.Collector{}, prometheus.NewRegistry(), func(api httpserver.API) {
		new(generator.Generator).Register(api, access.Keys{}, false)
	}).OpenAPI()
}
