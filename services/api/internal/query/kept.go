package query

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Kept refuses a range that begins at from when its first events may have been dropped
// already: what read the rows would tell less than was true. The error is the answer for
// the client.
func Kept(ctx context.Context, tx pgx.Tx, from time.Time) error {
	var first *time.Time
	err := tx.QueryRow(ctx, `
SELECT greatest(dropped_before, now() - keep)
FROM retention
WHERE relation = 'events'`).Scan(&first)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && (first == nil || !from.Before(*first)) {
		return nil
	}
	if err != nil {
		return err
	}
	return Invalid("from", "must not be before "+first.UTC().Format(time.RFC3339)+
		", as older events are kept as rollups only: ask for a later range, or a question that rollups answer", from.Format(time.RFC3339))
}
