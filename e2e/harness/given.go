package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// given is a server that somebody else runs. It is used, never stopped.
type given struct {
	product  product
	givenURL string
}

// useGiven waits a little for the server to answer: in CI it may just be starting.
func useGiven(ctx context.Context, p product, url string) (server, error) {
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := await(limited, p, []string{url}, func(context.Context) error { return nil }); err != nil {
		return nil, fmt.Errorf("%s is given, but its server cannot be used: %w", p.urlVar, err)
	}
	if p.name == postgresProduct.name {
		if err := hasTimescale(limited, url); err != nil {
			return nil, fmt.Errorf("%s is given, but its server cannot be used: %w", p.urlVar, err)
		}
	}
	return given{p, url}, nil
}

func (g given) url() string                 { return g.givenURL }
func (g given) stop(context.Context) error  { return g.refuse() }
func (g given) kill(context.Context) error  { return g.refuse() }
func (g given) start(context.Context) error { return g.refuse() }
func (g given) close() error                { return nil }
func (g given) pid(context.Context) int     { return 0 }

func (g given) refuse() error {
	return fmt.Errorf("%s is given by %s: the harness does not stop, kill or start what it does not run",
		g.product.name, g.product.urlVar)
}

// hasTimescale finds a plain PostgreSQL out here, not in the first migration.
func hasTimescale(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	var available bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')").Scan(&available)
	if err != nil {
		return fmt.Errorf("look for the timescaledb extension: %w", err)
	}
	if !available {
		return errors.New("the timescaledb extension is not installed on it")
	}
	return nil
}
