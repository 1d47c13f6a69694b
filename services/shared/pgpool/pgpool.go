// Package pgpool makes the PostgreSQL connection pools of the services.
package pgpool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/shared/retry"
)

// Config says where PostgreSQL is and how many connections to keep.
type Config struct {
	URL            string        `env:"POSTGRES_URL" required:"true" help:"Address of PostgreSQL with TimescaleDB, postgres://user:password@host:port/database."`
	PoolSize       int           `env:"POSTGRES_POOL_SIZE" default:"20" min:"1" max:"1000" help:"Most connections that one service opens."`
	ConnectTimeout time.Duration `env:"POSTGRES_CONNECT_TIMEOUT" default:"2s" min:"100ms" max:"1m" help:"How long one attempt to connect may take."`
	IdleTimeout    time.Duration `env:"POSTGRES_IDLE_TIMEOUT" default:"30s" min:"1s" max:"1h" help:"After how long an idle connection is closed."`
}

// Validate checks the form of the address; the message never shows it, as it may
// hold a password.
func (c Config) Validate() error {
	if c.URL == "" {
		return nil // required says so already
	}
	if _, err := pgxpool.ParseConfig(c.URL); err != nil {
		return errors.New("POSTGRES_URL must look like postgres://user:password@host:port/database")
	}
	return nil
}

// decompressAll lets one transaction change any number of compressed rows. By default
// TimescaleDB refuses with more than 100,000: folding what 5,000 late events add to one
// compressed day fails then, and would for ever. A server that does not know the setting
// takes it as one of the user's own.
const decompressAll = `SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0`

// New makes a pool; it does not connect. application names the service in
// pg_stat_activity.
func New(ctx context.Context, c Config, application string) (*pgxpool.Pool, error) {
	p, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("POSTGRES_URL cannot be read")
	}
	p.MaxConns = int32(c.PoolSize)
	p.MaxConnIdleTime = c.IdleTimeout
	p.ConnConfig.ConnectTimeout = c.ConnectTimeout
	p.ConnConfig.RuntimeParams["application_name"] = "weir-" + application
	p.ConnConfig.RuntimeParams["timezone"] = "UTC"
	p.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, decompressAll)
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("make PostgreSQL pool: %w", err)
	}
	return pool, nil
}

// Connect tests the connection and keeps trying, with exponential backoff and
// jitter, until PostgreSQL answers or ctx ends.
func Connect(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	return retry.Connect(ctx, log, "PostgreSQL", pool.Ping)
}
