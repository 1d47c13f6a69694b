package query

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Need is a table that a question reads, from which time on, and what to ask for instead
// when that is no longer there.
type Need struct {
	Table   string
	From    time.Time
	Instead string
}

// Events is the need of a question that reads the events themselves.
func Events(from time.Time) []Need {
	return []Need{{"events", from, "older events are kept as rollups only: ask for a later range, or a question that rollups answer"}}
}

// Kept refuses a question that needs what may have been dropped already: it would tell less
// than was true. The error, which names a parameter, is the answer for the client. Settings of
// the transaction go with it in one round trip.
func Kept(ctx context.Context, tx pgx.Tx, parameter string, needs []Need, settings ...string) error {
	var batch pgx.Batch
	for _, s := range settings {
		batch.Queue(s)
	}
	first := map[string]time.Time{} // what is kept, by table
	batch.Queue(`
SELECT relation, greatest(dropped_before, now() - keep)
FROM retention
WHERE keep IS NOT NULL OR dropped_before IS NOT NULL`).Query(func(rows pgx.Rows) error {
		var table string
		var at time.Time
		_, err := pgx.ForEachRow(rows, []any{&table, &at}, func() error { first[table] = at.UTC(); return nil })
		return err
	})
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	for _, n := range needs {
		if n.From.Before(first[n.Table]) {
			return Invalid(parameter, "must not be before "+first[n.Table].Format(time.RFC3339)+", as "+n.Instead, n.From.Format(time.RFC3339))
		}
	}
	return nil
}
