package query

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Replica is a streaming replica that answers questions in place of the primary while
// it can. Run watches it.
type Replica struct {
	pool  *pgxpool.Pool
	log   *slog.Logger
	marks marks
	state atomic.Pointer[Replication]

	// Connections of the watch's own: that the pools are busy is no sign of a loss.
	primary, replica watched
}

// Replication is what is known of the server that answers.
type Replication struct {
	Replica bool          // whether it is a replica, and not the primary
	Lag     time.Duration // how much older than the primary's is what it shows
	Lost    error         // why the replica does not answer; the primary does then
}

// NewReplica makes a replica of primary, reached by pool, and registers its metrics.
func NewReplica(pool, primary *pgxpool.Pool, log *slog.Logger, registry prometheus.Registerer) *Replica {
	r := &Replica{pool: pool, log: log,
		primary: watched{config: primary.Config().ConnConfig}, replica: watched{config: pool.Config().ConnConfig}}
	r.state.Store(&Replication{})
	registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_api_replica_up", Help: "1 while the replica of POSTGRES_READ_URL answers the questions, 0 while the primary does in its place.",
		}, func() float64 {
			if r.state.Load().Lost != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_api_replica_lag_seconds", Help: "How much older than the primary's is what the replica shows, when it last answered.",
		}, func() float64 { return r.state.Load().Lag.Seconds() }))
	return r
}

const (
	watchEvery = time.Second
	// watchTimeout is how long the replica may be silent until it is taken to be lost.
	watchTimeout = 3 * time.Second
)

// Run watches the replica until ctx ends.
func (r *Replica) Run(ctx context.Context) error {
	defer r.primary.close()
	defer r.replica.close()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.Watch(ctx)
		}
	}
}

// Watch looks once whether the replica answers, and how far it is.
func (r *Replica) Watch(ctx context.Context) {
	// The primary first: what it had a moment ago the replica may have by now. Without its
	// answer the replica is compared with the last.
	var m mark
	if err := r.primary.ask(ctx, markSQL, &m.at, &m.position); err == nil {
		r.marks.add(m)
	}
	var recovering bool
	var asOf time.Time
	var position int64
	err := r.replica.ask(ctx, positionSQL, &recovering, &asOf, &position)
	if ctx.Err() != nil {
		return
	}
	before, now := r.state.Load(), &Replication{Replica: recovering, Lost: err}
	switch {
	case err != nil:
		now.Lag = before.Lag
		if before.Lost == nil {
			r.log.Warn("The replica does not answer; the primary does until it is back.", "error", err)
		}
	case before.Lost != nil:
		r.log.Info("The replica answers again.")
	}
	if recovering {
		now.Lag = max(0, r.marks.latest().Sub(r.asOf(asOf, position)))
	}
	r.state.Store(now)
}

// serves reports whether questions should go to the replica.
func (r *Replica) serves() bool { return r != nil && r.state.Load().Lost == nil }

// asOf is of which instant a replica is that has replayed the log up to a position, and
// whose last commit there was at a time: on a quiet primary that may be long ago, though
// nothing is missing.
func (r *Replica) asOf(commit time.Time, position int64) time.Time {
	if through := r.marks.through(position); through.After(commit) {
		return through
	}
	return commit
}

// positionSQL says whether a server is a replica, when the last commit was that it shows,
// and how far it has replayed the primary's log.
const positionSQL = `
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_xact_replay_timestamp(), to_timestamp(0)) ELSE clock_timestamp() END,
       coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint`

// watched is a connection that is made anew after a failure.
type watched struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn
}

// ask runs a query that answers one row.
func (w *watched) ask(ctx context.Context, sql string, into ...any) (err error) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	if w.conn == nil {
		if w.conn, err = pgx.ConnectConfig(ctx, w.config); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	if err := w.conn.QueryRow(ctx, sql).Scan(into...); err != nil {
		w.close()
		return fmt.Errorf("ask how far it is: %w", err)
	}
	return nil
}

func (w *watched) close() {
	if w.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = w.conn.Close(ctx) // it is given up either way
		w.conn = nil
	}
}
