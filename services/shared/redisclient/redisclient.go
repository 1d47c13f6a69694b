// Package redisclient makes the Redis clients of the services.
package redisclient

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"weir/services/shared/retry"
)

// Config says where Redis is.
type Config struct {
	URL    string `env:"REDIS_URL" required:"true" help:"Address of Redis, redis://[user:password@]host:port[/db]; rediss:// for TLS. Of a Redis Cluster several nodes, redis://[user:password@]host:port,host:port; an endpoint that stands for all of them is given twice."`
	CAFile string `env:"REDIS_CA_FILE" help:"File with the certificates (PEM) of who vouches for Redis, with rediss://; empty means those that the system trusts."`
}

// Validate checks the form of the address; the message never shows it, as it may
// hold a password.
func (c Config) Validate() error {
	if c.URL == "" {
		return nil // required says so already
	}
	o, nodes, err := c.options()
	if err == nil && nodes != nil {
		_, err = clusterOptions(o, nodes)
	}
	return err
}

// options returns those of a single server, and a cluster's nodes if there are any.
func (c Config) options() (*redis.Options, []string, error) {
	first, nodes := split(c.URL)
	o, err := redis.ParseURL(first)
	if err != nil {
		return nil, nil, errors.New("REDIS_URL must look like redis://[user:password@]host:port[/db]")
	}
	if c.CAFile == "" {
		return o, nodes, nil
	}
	if o.TLSConfig == nil {
		return nil, nil, errors.New("REDIS_CA_FILE is for TLS: REDIS_URL must begin with rediss://")
	}
	text, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, nil, fmt.Errorf("REDIS_CA_FILE cannot be read: %w", err)
	}
	o.TLSConfig.RootCAs = x509.NewCertPool()
	if !o.TLSConfig.RootCAs.AppendCertsFromPEM(text) {
		return nil, nil, errors.New("REDIS_CA_FILE has no certificate in PEM form")
	}
	if nodes != nil {
		o.TLSConfig.ServerName = "" // each node's certificate has its own name
	}
	return o, nodes, nil
}

// New makes a client, of a single server or of a cluster; it does not connect. Calls give
// up after about three seconds rather than pile up while Redis is away.
func New(c Config, options ...Option) (redis.UniversalClient, error) {
	o, nodes, err := c.options()
	if err != nil {
		return nil, err
	}
	// go-redis writes to the standard logger from its pool; the same errors come
	// back from the calls, where they are logged once and with their operation.
	logging.Disable()
	o.DialTimeout = 2 * time.Second
	o.ReadTimeout = 3 * time.Second
	o.WriteTimeout = 3 * time.Second
	o.ContextTimeoutEnabled = true // a request's deadline bounds its call
	for _, option := range options {
		option(o)
	}
	if nodes == nil {
		return redis.NewClient(o), nil
	}
	cluster, err := clusterOptions(o, nodes)
	if err != nil {
		return nil, err
	}
	return redis.NewClusterClient(cluster), nil
}

// Option changes how a client behaves.
type Option func(*redis.Options)

// FailFast makes a client try once: for callers that answer somebody who waits, and
// who would rather hear at once that Redis is away. A pipeline is not sent twice
// either, which would add its entries twice (a cluster's is, when a node fails: the
// events' ids tell then).
func FailFast(o *redis.Options) {
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout = time.Second
}

// Connect tests the connection and keeps trying, with exponential backoff and
// jitter, until Redis answers or ctx ends.
func Connect(ctx context.Context, client redis.UniversalClient, log *slog.Logger) error {
	return retry.Connect(ctx, log, "Redis", func(ctx context.Context) error { return client.Ping(ctx).Err() })
}
