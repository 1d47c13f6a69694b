// Package redisclient makes the Redis clients of the services.
package redisclient

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"weir/services/shared/retry"
)

// Config says where Redis is.
type Config struct {
	URL string `env:"REDIS_URL" required:"true" help:"Address of Redis, redis://[user:password@]host:port[/db]; rediss:// for TLS."`
}

// Validate checks the form of the address; the message never shows it, as it may
// hold a password.
func (c Config) Validate() error {
	if c.URL == "" {
		return nil // required says so already
	}
	if _, err := redis.ParseURL(c.URL); err != nil {
		return errors.New("REDIS_URL must look like redis://[user:password@]host:port[/db]")
	}
	return nil
}

// New makes a client; it does not connect. Calls give up after about three
// seconds rather than pile up while Redis is away.
func New(c Config, options ...Option) (*redis.Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	o, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, errors.New("REDIS_URL cannot be read")
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
	return redis.NewClient(o), nil
}

// Option changes how a client behaves.
type Option func(*redis.Options)

// FailFast makes a client try once: for callers that answer somebody who waits, and
// who would rather hear at once that Redis is away. A pipeline is not sent twice
// either, which would add its entries twice.
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
