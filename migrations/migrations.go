// Package migrations holds the database schema: SQL files, one change each,
// compiled into every binary that needs them.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib" // the driver that goose runs on
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// Up applies every pending migration to the database at url and returns the
// version reached. Several may run at once: a session lock lets one through. One that needs a
// lock on what others use tries again and again, for up to ten minutes.
func Up(ctx context.Context, url string) (int64, error) {
	return migrate(ctx, url, func(p *goose.Provider) error {
		_, err := p.Up(ctx)
		return err
	})
}

// Down takes the schema back to version, 0 being an empty database. The data in
// what it drops is lost.
func Down(ctx context.Context, url string, version int64) (int64, error) {
	return migrate(ctx, url, func(p *goose.Provider) error {
		_, err := p.DownTo(ctx, version)
		return err
	})
}

const (
	// lockTimeout is how long a migration waits for a lock, because all who come after wait
	// behind it: a long reader would stop the writers.
	lockTimeout = 2 * time.Second
	// lockPause is how long they may go on before it is tried again.
	lockPause = 5 * time.Second
	// lockPatience is how long it is tried.
	lockPatience = 10 * time.Minute
)

func migrate(ctx context.Context, url string, act func(*goose.Provider) error) (version int64, err error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return 0, fmt.Errorf("open database: %w", err)
	}
	cfg.RuntimeParams["lock_timeout"] = strconv.FormatInt(lockTimeout.Milliseconds(), 10)
	db := stdlib.OpenDB(*cfg)
	defer func() { err = errors.Join(err, db.Close()) }()
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return 0, fmt.Errorf("make migration lock: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
	if err != nil {
		return 0, fmt.Errorf("read migrations: %w", err)
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		err := act(p) // what was done before stays done
		var pgErr *pgconn.PgError
		if err != nil && (!errors.As(err, &pgErr) || pgErr.Code != "55P03") { // lock_not_available
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(backoff.NewConstantBackOff(lockPause)), backoff.WithMaxElapsedTime(lockPatience))
	if err != nil {
		return 0, fmt.Errorf("migrate: %w", err)
	}
	return p.GetDBVersion(ctx)
}

// Latest is the schema version that this build was made for.
func Latest() int64 {
	list, err := goose.NewProvider(goose.DialectPostgres, &sql.DB{}, files)
	if err != nil {
		panic(err) // the files are compiled in: a test would have failed
	}
	sources := list.ListSources()
	return sources[len(sources)-1].Version
}

// querier is a pool, a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Check returns an error that says what to do unless the schema is at Latest or
// later. A later one is fine: migrations run before the new binaries roll out.
func Check(ctx context.Context, db querier) error {
	var version int64
	err := db.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "42P01" || errors.Is(err, pgx.ErrNoRows) { // undefined_table
		err, version = nil, 0
	}
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if latest := Latest(); version < latest {
		return fmt.Errorf("the database schema is at version %d and this build needs %d: run `make migrate` (weir-migrate up) first", version, latest)
	}
	return nil
}
