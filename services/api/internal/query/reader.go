// Package query is how the API's questions reach PostgreSQL: each in one snapshot,
// in bounded time, and with its failures turned into answers in one place.
package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// acquireTimeout bounds the wait for a connection: while PostgreSQL is away, or all
// connections are busy with long questions, a caller is told soon.
const acquireTimeout = 3 * time.Second

// Reader reads from one pool.
type Reader struct {
	pool    *pgxpool.Pool
	timeout time.Duration
	begin   string
	log     *slog.Logger
}

// New makes a reader that gives each question timeout.
func New(pool *pgxpool.Pool, timeout time.Duration, log *slog.Logger) *Reader {
	return &Reader{pool, timeout, fmt.Sprintf(
		"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = %d", timeout.Milliseconds()), log}
}

// Ask runs fn as Read does. The error, if any, is the answer for the client.
func (r *Reader) Ask(ctx context.Context, fn func(context.Context, pgx.Tx) error) (asOf time.Time, err error) {
	asOf, err = r.Read(ctx, fn)
	if err != nil {
		err = r.problem(ctx, err)
	}
	return asOf, err
}

// Read runs fn in a read-only transaction whose statements all see one snapshot.
// Everything that was committed before asOf is in it. When ctx ends, the statement
// under way is cancelled in the server too.
func (r *Reader) Read(ctx context.Context, fn func(context.Context, pgx.Tx) error) (asOf time.Time, err error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Release()
	// The server's timeout is per statement; this one is for all of them, and for a
	// server that does not even answer.
	ctx, cancel := context.WithTimeout(ctx, r.timeout+time.Second)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{BeginQuery: r.begin}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT now()").Scan(&asOf); err != nil {
			return err
		}
		return fn(ctx, tx)
	})
	return asOf.UTC(), err
}

func (r *Reader) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	conn, err := r.pool.Acquire(limited)
	if err != nil {
		return nil, errors.Join(errNoConnection, err)
	}
	return conn, nil
}
