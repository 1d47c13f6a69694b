package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// declare writes down from which age on a table's rows may be dropped, 0 being never.
// It comes before the dropping. What the age before may have dropped is kept in mind:
// rows do not come back when an age is raised.
func declare(ctx context.Context, tx pgx.Tx, name string, age time.Duration) error {
	var keep *time.Duration
	if age > 0 {
		keep = &age
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO retention AS r (relation, keep) VALUES ($1, $2)
		ON CONFLICT (relation) DO UPDATE
		SET keep = excluded.keep, dropped_before = greatest(r.dropped_before, now() - r.keep)`, name, keep)
	if err != nil {
		return fmt.Errorf("declare the age: %w", err)
	}
	return nil
}

// Horizon returns the time from which on all events are in the table that ever were. Of
// those before it some or all may have been dropped; some may have come late since. It
// is the zero time when nothing was ever dropped.
//
// An hour is added, so that what is read from there on is not dropped meanwhile.
func Horizon(ctx context.Context, tx pgx.Tx) (time.Time, error) {
	var at *time.Time
	err := tx.QueryRow(ctx, `
		SELECT greatest(dropped_before, now() - keep + interval '1 hour')
		FROM retention WHERE relation = 'events'`).Scan(&at)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, fmt.Errorf("read how long events are kept: %w", err)
	}
	if at == nil {
		return time.Time{}, nil
	}
	return at.UTC(), nil
}
