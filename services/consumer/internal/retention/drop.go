package retention

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// drop drops the chunks that are past their age as a whole, on the Apache edition.
//
// One at a time, oldest first, each in a transaction of its own: a chunk's lock is held
// for a moment, however many are due when an age is set for the first time. A writer
// with a late event for the very chunk waits that moment, and writes to a new chunk,
// which the next round drops.
func (k *Keeper) drop(ctx context.Context, t table) error {
	age := t.age(k.Config)
	mine, err := k.alone(ctx, func(tx pgx.Tx) error { return declare(ctx, tx, t.name, age) })
	if err == nil && mine && age > 0 {
		err = k.dropOlder(ctx, t, age)
	}
	if err != nil {
		return fmt.Errorf("drop old chunks of %s: %w", t.name, err)
	}
	return nil
}

func (k *Keeper) dropOlder(ctx context.Context, t table, age time.Duration) error {
	// Listed once: late events may make new ones all the while, and never end it.
	rows, err := k.Pool.Query(ctx, `
		SELECT range_end FROM timescaledb_information.chunks
		WHERE hypertable_schema = current_schema() AND hypertable_name = $1 AND range_end <= now() - $2::interval
		ORDER BY range_end`, t.name, age)
	if err != nil {
		return err
	}
	ends, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	for _, end := range ends {
		var mine bool
		mine, err = k.alone(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SELECT drop_aged($1, $2)`, t.name, end)
			return err
		})
		if err != nil || !mine {
			return err
		}
		k.dropped.WithLabelValues(t.name).Inc()
		k.Log.Info("A chunk was dropped at its age.", "table", t.name, "end", end.UTC(), "age", age.String())
	}
	return err
}

// expire deletes the dead letters that are past their age.
func (k *Keeper) expire(ctx context.Context) error {
	const most = 1000 // at once
	for n := int64(most); n == most && k.Config.DeadLetters > 0; {
		// Those that a replay is just at are left to it.
		tag, err := k.Pool.Exec(ctx, `
			DELETE FROM dead_letters WHERE id IN (
				SELECT id FROM dead_letters WHERE created_at < now() - $1::interval
				ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, k.Config.DeadLetters, most)
		if err != nil {
			return fmt.Errorf("delete old dead letters: %w", err)
		}
		n = tag.RowsAffected()
		k.expired.Add(float64(n))
	}
	return nil
}
