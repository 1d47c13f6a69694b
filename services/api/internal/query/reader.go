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

// Reader reads from the primary, or from a replica while that answers.
type Reader struct {
	primary *pgxpool.Pool
	replica *Replica // nil without one
	timeout time.Duration
	begin   string
	log     *slog.Logger
}

// begin starts a question. Compiling takes longer than it gains on questions that end within
// a second; and a day's users fit into memory, where PostgreSQL's 4 MB have them written to
// disk and read again.
const begin = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL jit = off;
SET LOCAL work_mem = '32MB';
SET LOCAL statement_timeout = %d`

// New makes a reader that gives each question timeout; the replica may be nil.
func New(primary *pgxpool.Pool, replica *Replica, timeout time.Duration, log *slog.Logger) *Reader {
	return &Reader{primary, replica, timeout, fmt.Sprintf(begin, timeout.Milliseconds()), log}
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
	return r.read(ctx, func(ctx context.Context, _ *pgxpool.Pool, tx pgx.Tx) error { return fn(ctx, tx) })
}

// Ping reports whether questions can be answered.
func (r *Reader) Ping(ctx context.Context) error {
	_, err := r.Read(ctx, func(context.Context, pgx.Tx) error { return nil })
	return err
}

// Replication tells which server answers, and how far it is behind.
func (r *Reader) Replication() Replication {
	if r.replica == nil {
		return Replication{}
	}
	return *r.replica.state.Load()
}

// read is Read; fn is told from which pool the transaction's connection is.
func (r *Reader) read(ctx context.Context, fn func(context.Context, *pgxpool.Pool, pgx.Tx) error) (time.Time, error) {
	pool, conn, asOf, err := r.open(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Release()
	// The server's timeout is per statement; this one is for all of them, and for a
	// server that does not even answer.
	ctx, cancel := context.WithTimeout(ctx, r.timeout+time.Second)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{BeginQuery: r.begin}, func(tx pgx.Tx) error {
		return fn(ctx, pool, tx)
	})
	return asOf, err
}

// open takes a connection, and says from which pool and of which instant what it shows is
// at least. When the replica went away just now it takes the primary's; when it is only
// busy it does not: that would make the primary busy too.
func (r *Reader) open(ctx context.Context) (*pgxpool.Pool, *pgxpool.Conn, time.Time, error) {
	if r.replica.serves() {
		conn, asOf, err := r.connect(ctx, r.replica.pool)
		if err == nil || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return r.replica.pool, conn, asOf, err
		}
	}
	conn, asOf, err := r.connect(ctx, r.primary)
	return r.primary, conn, asOf, err
}

// connect asks for the instant before the snapshot is taken, so that the snapshot has no
// less.
func (r *Reader) connect(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, time.Time{}, errors.Join(errNoConnection, err)
	}
	var recovering bool
	var asOf time.Time
	var position int64
	if err := conn.QueryRow(ctx, positionSQL).Scan(&recovering, &asOf, &position); err != nil {
		conn.Release()
		return nil, time.Time{}, errors.Join(errNoConnection, err)
	}
	if recovering && r.replica != nil {
		asOf = r.replica.asOf(asOf, position)
	}
	return conn, asOf.UTC(), nil
}
