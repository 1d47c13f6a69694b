package retention

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// vacuumLater has autovacuum come to a chunk of events when that is full, not all the
// while that it is filled, and leave its block ranges alone. A function of the migrations
// does it, and says more.
func (k *Keeper) vacuumLater(ctx context.Context) error {
	_, err := k.alone(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT vacuum_full_chunks_only()`)
		return err
	})
	if err != nil {
		return fmt.Errorf("put off autovacuum of the newest events: %w", err)
	}
	return nil
}
