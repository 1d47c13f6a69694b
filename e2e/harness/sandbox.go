package harness

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Sandbox is one test's own part of the servers: an empty database, and a stream name
// that nobody else uses.
type Sandbox struct {
	RedisURL    string
	PostgresURL string
	// StreamName begins the name of every key that the test makes.
	StreamName string

	maintenanceURL, database string
}

// Sandbox creates a fresh, empty database weir_<name>_<random>. TimescaleDB is not
// created in it: that is the migrations' work.
func (s *Servers) Sandbox(ctx context.Context, name string) (*Sandbox, error) {
	unique := "weir_" + plain(name) + "_" + randomHex(4)
	address, err := url.Parse(s.PostgresURL)
	if err != nil {
		return nil, fmt.Errorf("parse PostgreSQL URL: %w", err)
	}
	address.Path = "/" + unique

	// template0, because nothing ever connects to it: copying template1 fails while
	// TimescaleDB's scheduler is connected there.
	if err := execute(ctx, s.PostgresURL, "CREATE DATABASE "+unique+" TEMPLATE template0"); err != nil {
		return nil, fmt.Errorf("create sandbox: %w", err)
	}
	return &Sandbox{
		RedisURL: s.RedisURL, PostgresURL: address.String(), StreamName: unique,
		maintenanceURL: s.PostgresURL, database: unique,
	}, nil
}

// Close drops the database, whoever is still connected, and deletes every key whose
// name begins with StreamName.
func (b *Sandbox) Close(ctx context.Context) error {
	return CleanUp(errors.Join(
		wrap("drop sandbox database", b.dropDatabase(ctx)),
		wrap("delete sandbox keys", b.deleteKeys(ctx))))
}

func (b *Sandbox) dropDatabase(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		err := execute(ctx, b.maintenanceURL, "DROP DATABASE IF EXISTS "+b.database+" WITH (FORCE)")
		var pgErr *pgconn.PgError
		// object_in_use: TimescaleDB's scheduler came back between FORCE and the drop.
		if !errors.As(err, &pgErr) || pgErr.Code != "55006" || attempt == 10 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (b *Sandbox) deleteKeys(ctx context.Context) error {
	client, err := newRedis(b.RedisURL)
	if err != nil {
		return err
	}
	defer client.Close()
	for cursor := uint64(0); ; {
		keys, next, err := client.Scan(ctx, cursor, b.StreamName+"*", 1000).Result()
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		if len(keys) > 0 {
			if err := client.Unlink(ctx, keys...).Err(); err != nil {
				return fmt.Errorf("unlink: %w", err)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// plain turns a test's name into letters that need no quoting in SQL nor in a SCAN
// pattern, short enough for PostgreSQL's limit of 63 bytes.
func plain(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(name))
	return name[:min(len(name), 40)]
}
