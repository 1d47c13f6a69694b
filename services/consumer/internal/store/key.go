package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/consumer/internal/batch"
	"weir/services/shared/rollup"
)

// The ORDER BY keeps consumers that meet the same new keys from deadlocking.
const insertKeys = `
INSERT INTO rollup_keys (dimension, type, value)
SELECT * FROM unnest($1::smallint[], $2::text[], $3::text[]) ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING`

const selectKeys = `
SELECT k.id, k.dimension, k.type, k.value
FROM unnest($1::smallint[], $2::text[], $3::text[]) AS wanted (dimension, type, value)
JOIN rollup_keys k USING (dimension, type, value)`

// resolve learns the numbers of the keys that the deltas use, and gives new keys
// theirs. It commits by itself, outside the batch's transaction: no batch then
// waits for another's commit to learn a key, and a key that an aborted batch
// leaves behind is harmless.
func resolve(ctx context.Context, conn *pgxpool.Conn, d *batch.Deltas) error {
	for {
		keys := d.Unresolved()
		if len(keys) == 0 {
			return nil
		}
		dimensions, types, values := make([]int16, len(keys)), make([]string, len(keys)), make([]string, len(keys))
		for i, k := range keys {
			dimensions[i], types[i], values[i] = int16(k.Dimension), k.Type, k.Value
		}
		rows, err := conn.Query(ctx, selectKeys, dimensions, types, values)
		if err != nil {
			return fmt.Errorf("select rollup keys: %w", err)
		}
		var id int32
		var k rollup.Key
		_, err = pgx.ForEachRow(rows, []any{&id, &k.Dimension, &k.Type, &k.Value}, func() error {
			d.Resolve(k, id)
			return nil
		})
		if err != nil {
			return fmt.Errorf("select rollup keys: %w", err)
		}
		if len(d.Unresolved()) == 0 {
			return nil
		}
		if _, err := conn.Exec(ctx, insertKeys, dimensions, types, values); err != nil {
			return fmt.Errorf("insert rollup keys: %w", err)
		}
	}
}
