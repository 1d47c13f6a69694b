package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// The chunks of now and of a day from now, or of the next chunk's time where chunks are
// shorter: those that do not exist.
const missingChunks = `
SELECT at
FROM timescaledb_information.dimensions d
CROSS JOIN LATERAL (VALUES (now()), (now() + least(d.time_interval, interval '1 day'))) AS due (at)
WHERE d.hypertable_schema = current_schema() AND d.hypertable_name = $1 AND d.dimension_number = 1
  AND NOT EXISTS (SELECT FROM timescaledb_information.chunks c
                  WHERE c.hypertable_schema = d.hypertable_schema AND c.hypertable_name = d.hypertable_name
                    AND c.range_start <= at AND c.range_end > at)
ORDER BY at`

// ahead creates the chunks that will be needed within a day.
//
// Whoever writes the first row of a chunk creates it, and holds until its commit a lock
// that every other writer waits for that has such a row too: at midnight, everybody.
//
// The way to a chunk that works in both editions is to write a row. It is deleted in
// the same transaction, so nobody ever sees it, and the chunk stays.
func (k *Keeper) ahead(ctx context.Context, t table) error {
	var due []time.Time
	rows, err := k.Pool.Query(ctx, missingChunks, t.name)
	if err == nil {
		due, err = pgx.CollectRows(rows, pgx.RowTo[time.Time])
	}
	for _, at := range due {
		_, errChunk := k.alone(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO `+t.name+` `+t.probe, at); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `DELETE FROM `+t.name+` WHERE `+t.time+` = $1 AND `+t.probed, at)
			return err
		})
		err = errors.Join(err, errChunk)
	}
	if err != nil {
		return fmt.Errorf("create the next chunk of %s: %w", t.name, err)
	}
	return nil
}
