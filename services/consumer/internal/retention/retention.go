// Package retention looks after what the tables hold over time: the next chunk is
// there before its first row comes, old rows are compressed, and what is past its age
// is dropped. On TimescaleDB's Community edition the last two are policies that the
// database carries out; on Apache they are not to be had, and the consumer drops.
//
// What only the tables' owner may do is in functions of the migrations, which act with the
// owner's rights: the consumer's own role need not be able to alter or drop anything.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"weir/services/shared/edition"
	"weir/services/shared/retry"
)

// LockKey is the advisory lock of whoever changes chunks: "weirkeep" in ASCII.
const LockKey = 0x776569726b656570

// lockTimeout bounds how long a chunk's lock is waited for, as writers that come later
// wait behind us. It is half of PostgreSQL's deadlock_timeout: in a deadlock it is we
// who give up, never a writer.
const lockTimeout = 500 * time.Millisecond

// attempts is how often a lock is tried for before it is left to the next round.
const attempts = 5

// Keeper does the rounds.
type Keeper struct {
	Config Config
	Pool   *pgxpool.Pool
	Log    *slog.Logger

	server  edition.Server // as last seen
	dropped *prometheus.CounterVec
	expired prometheus.Counter
}

// New returns a Keeper whose metrics are in registry.
func New(c Config, pool *pgxpool.Pool, log *slog.Logger, registry prometheus.Registerer) *Keeper {
	k := &Keeper{
		Config: c, Pool: pool, Log: log,
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_consumer_dropped_chunks_total", Help: "Chunks that were dropped at their age, by table. On the Community edition the database drops them.",
		}, []string{"table"}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_consumer_expired_dead_letters_total", Help: "Dead letters that were deleted at their age.",
		}),
	}
	registry.MustRegister(k.dropped, k.expired)
	return k
}

// Run does a round now and at every interval until ctx ends; it returns nil then. What
// a round could not do, the next one does.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		if err := k.Round(ctx); err != nil && ctx.Err() == nil {
			k.Log.Warn("Looking after the tables failed in part; the next round does the rest.", "error", err, "wait", k.Config.Every.String())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(k.Config.Every):
		}
	}
}

// Round does what is due now, unless another consumer is at it. An error with one table
// does not keep the others from their turn.
func (k *Keeper) Round(ctx context.Context) error {
	server, err := edition.Detect(ctx, k.Pool)
	if err != nil {
		return err
	}
	if server != k.server {
		k.server = server
		k.Log.Info("The database server was identified.",
			"edition", server.Edition, "timescaledb", server.TimescaleDB, "postgresql", server.PostgreSQL)
	}
	var errs []error
	for _, t := range tables { // first of all: writers are about to need them
		errs = append(errs, k.ahead(ctx, t))
	}
	errs = append(errs, k.vacuumLater(ctx))
	for _, t := range tables {
		if server.Edition == edition.Community {
			errs = append(errs, k.policies(ctx, t))
		} else {
			errs = append(errs, k.drop(ctx, t))
		}
	}
	return errors.Join(append(errs, k.expire(ctx))...)
}

// alone runs f in a transaction that no other consumer's keeper shares; it reports
// false when one of these is at work. A lock that cannot be had soon is tried for
// again, a few times.
func (k *Keeper) alone(ctx context.Context, f func(pgx.Tx) error) (mine bool, err error) {
	wait := retry.Backoff()
	for attempt := 1; ; attempt++ {
		err = pgx.BeginFunc(ctx, k.Pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, fmt.Sprintf(`SET LOCAL lock_timeout = %d`, lockTimeout.Milliseconds()))
			if err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, int64(LockKey)).Scan(&mine); err != nil || !mine {
				return err
			}
			return f(tx)
		})
		if !contended(err) || attempt == attempts {
			return mine, err
		}
		select {
		case <-ctx.Done():
			return mine, err
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// contended tells of lock_not_available, deadlock_detected and serialization_failure.
func contended(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "55P03" || e.Code == "40P01" || e.Code == "40001")
}
