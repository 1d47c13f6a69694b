package retention

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// vacuumLater has autovacuum come to a chunk of events when that is full, not all the
// while that it is filled, and never to its block ranges. The functions of the migrations
// say more.
func (k *Keeper) vacuumLater(ctx context.Context) error {
	var errs []error
	for _, function := range []string{"vacuum_full_chunks_only", "autosummarize_no_chunk"} {
		_, err := k.alone(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SELECT `+function+`()`)
			return err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("put off autovacuum of the newest events: %w", err))
		}
	}
	return errors.Join(errs...)
}
