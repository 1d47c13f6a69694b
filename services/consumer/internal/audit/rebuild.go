package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/consumer/internal/fold"
)

// ErrNoRaw is returned instead of rebuilding a day that has rollups and no raw rows, or
// is past the events' age: retention removed the rows, and the rollups are all that is
// left of that day.
var ErrNoRaw = errors.New("has rollups but not all of its raw rows, so rebuilding would erase it")

// Keys are normally all there: writers make them before they commit.
var insertMissingKeys = `
INSERT INTO rollup_keys (dimension, type, value)
SELECT DISTINCT d.dimension::smallint, e.type, d.value
FROM events e
CROSS JOIN LATERAL (VALUES ` + dimensions() + `) AS d (dimension, value)
WHERE e.time >= $1 AND e.time < $2 AND d.value IS NOT NULL
  AND NOT EXISTS (SELECT FROM rollup_keys k WHERE (k.dimension, k.type, k.value) = (d.dimension, e.type, d.value))
ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING`

// What a bucket lacks is added to it, rather than the bucket replaced. A batch that
// commits after the statement's snapshot brings its rows and its lines of the log at
// once, so what was lacking before is lacking still, no more and no less.
var correct = `WITH ` + differences + `, lacking AS (
    SELECT grain, bucket, dimension, key_id, raw_events - rolled_events AS events, raw_total - rolled_total AS value
    FROM differences
), by_minute AS (
    INSERT INTO rollup_minute AS r (bucket, dimension, key_id, events, value)
    SELECT bucket, dimension, key_id, events, value FROM lacking WHERE grain = 'minute'
    ON CONFLICT (dimension, bucket, key_id)
    DO UPDATE SET events = r.events + excluded.events, value = r.value + excluded.value
), by_hour AS (
    INSERT INTO rollup_hour AS r (bucket, dimension, key_id, events, value)
    SELECT bucket, dimension, key_id, events, value FROM lacking WHERE grain = 'hour'
    ON CONFLICT (dimension, bucket, key_id)
    DO UPDATE SET events = r.events + excluded.events, value = r.value + excluded.value
), by_day AS (
    INSERT INTO rollup_day AS r (bucket, dimension, key_id, events, value)
    SELECT bucket, dimension, key_id, events, value FROM lacking WHERE grain = 'day'
    ON CONFLICT (dimension, bucket, key_id)
    DO UPDATE SET events = r.events + excluded.events, value = r.value + excluded.value
)
SELECT count(*) FROM lacking`

// Rebuild recomputes the rollups of all grains over a span from the raw rows, and
// returns how many buckets it corrected. The span is one of whole days (UTC), else
// the error is ErrSpanDays. A day that has rollups but not all of its raw rows any more
// ends it with ErrNoRaw, unless erase is set.
//
// It may run while events flow, and while another rebuild does. Each day is a
// transaction of its own: after a failure the days before are mended, and running it
// again goes on.
func Rebuild(ctx context.Context, pool *pgxpool.Pool, s Span, erase bool) (corrected int64, err error) {
	if !s.whole(day) {
		return 0, ErrSpanDays
	}
	for part := range s.days() {
		// Keys first, and for all to see: the users are compared in other transactions.
		if _, err := pool.Exec(ctx, insertMissingKeys, part.From, part.To); err != nil {
			return corrected, fmt.Errorf("insert rollup keys: %w", err)
		}
		var n int64
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			n, err = rebuildDay(ctx, pool, tx, part, erase)
			return err
		})
		if err != nil {
			return corrected, fmt.Errorf("rebuild %s: %w", part.From.Format(time.DateOnly), err)
		}
		corrected += n
	}
	return corrected, nil
}

func rebuildDay(ctx context.Context, pool *pgxpool.Pool, tx pgx.Tx, s Span, erase bool) (corrected int64, err error) {
	// 1. Whoever folds, and another rebuild, wait: the rollups have one writer at a
	// time. Read committed, so that what follows sees what was committed meanwhile.
	for _, lock := range []int64{fold.LockKey, fold.UsersLockKey} {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, lock); err != nil {
			return 0, err
		}
	}
	// 2. Never mistake what retention removed for what never was.
	if !erase {
		kept, err := s.kept(ctx, tx)
		if err != nil {
			return 0, err
		}
		var bare bool
		err = tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM days WHERE bucket = $1) AND ($3 OR NOT EXISTS (SELECT FROM events WHERE time >= $1 AND time < $2))`,
			s.From, s.To, kept != s).Scan(&bare)
		if err != nil {
			return 0, err
		}
		if bare {
			return 0, ErrNoRaw
		}
	}
	// 3. Correct.
	if err := tx.QueryRow(ctx, correct, s.From, s.To, true).Scan(&corrected); err != nil {
		return 0, fmt.Errorf("correct rollups: %w", err)
	}
	// 4. What counts nothing goes.
	for _, table := range []string{"rollup_minute", "rollup_hour", "rollup_day"} {
		_, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE bucket >= $1 AND bucket < $2 AND events = 0 AND value = 0`, s.From, s.To)
		if err != nil {
			return 0, fmt.Errorf("tidy %s: %w", table, err)
		}
	}
	// 5. The users: first what the log holds, else it would bring back what is wrong.
	if err := fold.Users(ctx, tx); err != nil {
		return 0, err
	}
	users, err := rebuildUsers(ctx, pool, tx, s)
	if err != nil {
		return 0, err
	}
	// 6. Whoever remembers what it read before reads it again.
	corrected += users
	if _, err := tx.Exec(ctx, `INSERT INTO rebuilds (day, corrected) VALUES ($1, $2)`, s.From, corrected); err != nil {
		return 0, fmt.Errorf("note the rebuild: %w", err)
	}
	return corrected, nil
}
