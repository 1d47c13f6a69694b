// Package fold moves the logs of deltas into the rollups. Batches only append to the
// logs, which is cheap and never makes two consumers wait for each other; one
// consumer at a time folds it, so the rollups have a single writer.
package fold

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"weir/services/shared/retry"
	"weir/services/shared/rollup"
)

// Advisory locks of whoever writes to the rollups: "weirfold" in ASCII for the counts,
// "weiruser" for the users. Who needs both takes the counts' first. Who folds one of the
// logs of users shares the users' lock, and has that log's, which are the next numbers.
const (
	LockKey      = 0x77656972666f6c64
	UsersLockKey = 0x7765697275736572
)

// most bounds one fold's transaction: about two seconds of work at worst. After
// timeout the connection is taken for dead.
const (
	most    = 300_000
	timeout = 5 * time.Minute
)

// A fold rests for so many times as long as it took, but not beyond so long after it began:
// the busier the log, the more of its lines meet in one rollup row. Measured by draining a
// backlog, folding every second costs 1.6 µs of PostgreSQL's CPU an event, every three
// seconds 0.4 µs, of some 12 µs for everything. Sets of users are larger and asked for
// less often: they rest longer, see turn.
const (
	restful = 9
	longest = 5 * time.Second

	usersEvery   = 10 // times as long as the counts
	longestUsers = 2 * time.Minute
)

// A log that became longer than long gives back its empty pages until it is no longer
// than short, both in bytes. Its length is looked at each time that it was folded to its
// end, but after so many times Every at the earliest.
const (
	long        = 16 << 20
	short       = 4 << 20
	shrinkAfter = 15
)

// One statement: the lines leave the log and reach the rollups in the same instant,
// so a reader of log plus rollup always sees each once.
const foldOnce = `
WITH folded AS (
    DELETE FROM rollup_deltas
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM rollup_deltas LIMIT $1))
    RETURNING minute, dimension, key_id, events, value
), minutes AS (
    SELECT minute, dimension, key_id, sum(events) AS events, sum(value) AS value
    FROM folded GROUP BY minute, dimension, key_id
    UNION ALL
    SELECT DISTINCT minute, 101::smallint, 0, 1, 0 FROM folded -- rollup.Folds
), by_minute AS (
    INSERT INTO rollup_minute AS r (bucket, dimension, key_id, events, value)
    SELECT to_timestamp(minute * 60::bigint), dimension, key_id, events, value
    FROM minutes
    ON CONFLICT (dimension, bucket, key_id)
    DO UPDATE SET events = r.events + excluded.events, value = r.value + excluded.value
), by_hour AS (
    INSERT INTO rollup_hour AS r (bucket, dimension, key_id, events, value)
    SELECT to_timestamp(minute / 60 * 3600::bigint), dimension, key_id, sum(events), sum(value)
    FROM minutes GROUP BY minute / 60, dimension, key_id
    ON CONFLICT (dimension, bucket, key_id)
    DO UPDATE SET events = r.events + excluded.events, value = r.value + excluded.value
), by_day AS (
    INSERT INTO rollup_day AS r (bucket, dimension, key_id, events, value)
    SELECT to_timestamp(minute / 1440 * 86400::bigint), dimension, key_id, sum(events), sum(value)
    FROM minutes GROUP BY minute / 1440, dimension, key_id
    ON CONFLICT (dimension, bucket, key_id)
    DO UPDATE SET events = r.events + excluded.events, value = r.value + excluded.value
)
SELECT count(*) FROM folded`

// Folder folds at an interval.
type Folder struct {
	Pool  *pgxpool.Pool
	Every time.Duration
	Log   *slog.Logger
	// GiveWay, if any, is called before each fold, and returns when it may begin.
	GiveWay func(context.Context)

	seconds *prometheus.HistogramVec
	lines   *prometheus.CounterVec
	last    *prometheus.GaugeVec
}

// New returns a Folder whose metrics are in registry.
func New(pool *pgxpool.Pool, every time.Duration, log *slog.Logger, registry prometheus.Registerer) *Folder {
	f := &Folder{
		Pool: pool, Every: every, Log: log,
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_consumer_fold_duration_seconds", Help: "Time that one fold of a log took, counts or users; that of users with the rests in between.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), NativeHistogramBucketFactor: 1.1,
		}, []string{"log"}),
		lines: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_consumer_folded_deltas_total", Help: "Lines of a log, counts or users, that were folded into the rollups.",
		}, []string{"log"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_consumer_last_fold_timestamp_seconds",
			Help: "When this consumer last folded a log, counts or users, or found that there was nothing to fold or that another consumer was at it; in Unix time.",
		}, []string{"log"}),
	}
	for _, log := range []string{"counts", "users"} {
		f.lines.WithLabelValues(log) // from 0 on
	}
	registry.MustRegister(f.seconds, f.lines, f.last)
	return f
}

// Run folds the logs until ctx ends; it returns nil then. Errors are waited out: what
// is not folded stays in the log, where readers see it.
func (f *Folder) Run(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error { f.run(ctx, "counts", "rollup_deltas", f.Fold, most, f.Every, longest); return nil })
	for i, log := range rollup.UserLogs {
		all.Go(func() error {
			s, turnEnds := share{i, shares[i], 0}, time.Time{}
			next := func(ctx context.Context) (n int64, err error) {
				if turnEnds.IsZero() {
					turnEnds = time.Now().Add(turn(s.of))
				}
				n, err = f.foldShare(ctx, s, turnEnds)
				if err == nil && n == mostUsers {
					return n, nil // its turn goes on
				}
				turnEnds = time.Time{}
				if err == nil {
					s.number = (s.number + 1) % s.of
				}
				return n, err
			}
			f.run(ctx, "users", log, next, mostUsers, usersEvery*f.Every/time.Duration(s.of), turn(s.of))
			return nil
		})
	}
	return all.Wait()
}

func (f *Folder) run(ctx context.Context, log, table string, fold func(context.Context) (int64, error), most int64, every, longest time.Duration) {
	wait := retry.Backoff()
	pause := every
	var shrunk time.Time
	over := int64(long)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if f.GiveWay != nil {
			f.GiveWay(ctx)
		}
		start := time.Now()
		limited, cancel := context.WithTimeout(ctx, timeout)
		n, err := fold(limited)
		cancel()
		took := time.Since(start)
		if n > 0 {
			f.seconds.WithLabelValues(log).Observe(took.Seconds())
			f.lines.WithLabelValues(log).Add(float64(n))
		}
		switch {
		case err != nil && ctx.Err() == nil:
			f.Log.Warn("Folding the rollups failed, trying again.", "log", log, "error", err)
			pause = max(every, wait.NextBackOff())
		case n == most:
			pause = 0 // there is more
		case err == nil:
			due := time.Since(shrunk) > shrinkAfter*f.Every
			if n > 0 || due {
				over = f.vacuum(ctx, table, over, due)
			}
			if due {
				shrunk = time.Now()
			}
			f.last.WithLabelValues(log).SetToCurrentTime()
			wait.Reset()
			pause = max(every, min(restful*took, longest-time.Since(start)))
		}
	}
}

// vacuum makes room for lines to come where folded ones were. Autovacuum comes once a
// minute, and until then every question would read the folded lines of that minute, as the
// log has no index: at 5,000 events/s a tenth of what it read was there to be read.
//
// When it is due, a log of more bytes than over gives its empty pages back; over for the
// next time is returned. One VACUUM may not do: it keeps what an older transaction may
// still see, gives back only pages behind the last that is in use, and stops halfway when
// others want the table. A role that may not (before PostgreSQL 17 only the owner may)
// leaves it all to autovacuum.
func (f *Folder) vacuum(ctx context.Context, table string, over int64, due bool) int64 {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	truncate := "false"
	next := over
	var err error
	if due {
		var size int64
		err = f.Pool.QueryRow(ctx, `SELECT pg_relation_size($1::regclass)`, table).Scan(&size)
		next = long
		if size > over {
			truncate, next = "true", short
		}
	}
	if err == nil {
		_, err = f.Pool.Exec(ctx, `VACUUM (SKIP_LOCKED, TRUNCATE `+truncate+`) `+table)
	}
	if err != nil && ctx.Err() == nil {
		f.Log.Warn("The folded lines of a log were not cleared away; autovacuum will.", "table", table, "error", err)
	}
	return next
}

// Fold folds the log of counts once, unless another consumer is at it, and returns how
// many lines.
func (f *Folder) Fold(ctx context.Context) (lines int64, err error) {
	err = f.alone(ctx, fmt.Sprintf(`SELECT pg_try_advisory_xact_lock(%d)`, LockKey), func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, foldOnce, most).Scan(&lines)
	})
	if err != nil {
		return 0, fmt.Errorf("fold: %w", err)
	}
	return lines, nil
}

// alone runs work in a transaction in which lock got its locks, or does nothing when
// another holds them. PostgreSQL has memory for all that a statement returns or groups: with the
// usual 4 MB, the lines of users went to temporary files first, for 3% of a machine's CPU at
// 100,000 events/s.
func (f *Folder) alone(ctx context.Context, lock string, work func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, f.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL work_mem = '64MB'`); err != nil {
			return err
		}
		var mine bool
		if err := tx.QueryRow(ctx, lock).Scan(&mine); err != nil || !mine {
			return err
		}
		return work(tx)
	})
}
