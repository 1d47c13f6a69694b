package retention_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/retention"
)

// TestAutovacuumComesToAChunkWhenItIsFull: a chunk that is being filled is left alone, one
// whose time is over is not, though it was while it was filled.
func TestAutovacuumComesToAChunkWhenItIsFull(t *testing.T) {
	t.Parallel()
	pool := open(t)
	insert := `INSERT INTO events (time, id, type, source) VALUES ($1, gen_random_uuid(), '', '')`
	fixture.Exec(t, pool, insert, time.Now().Add(-30*24*time.Hour))
	fixture.Exec(t, pool, `SELECT set_chunk_time_interval('events', interval '6 hours')`)
	fixture.Exec(t, pool, insert, time.Now().Add(-7*time.Hour))
	// What was told when it was filled, and what somebody chose for a chunk of his own.
	for at, options := range map[string]string{
		"-7 hours": "autovacuum_vacuum_insert_threshold = -1, fillfactor = 90",
		"-30 days": "autovacuum_vacuum_insert_threshold = 5",
	} {
		var chunk string
		require.NoError(t, pool.QueryRow(t.Context(), `
			SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks
			WHERE hypertable_name = 'events' AND range_start <= now() + $1::interval AND range_end > now() + $1::interval`, at).Scan(&chunk))
		fixture.Exec(t, pool, `ALTER TABLE `+chunk+` SET (`+options+`)`)
	}
	// As before migrations 13 and 14: an open chunk's index has what the table's had.
	fixture.Exec(t, pool, `ALTER INDEX events_time SET (autosummarize = on)`)
	fixture.Exec(t, pool, insert, time.Now())
	fixture.Exec(t, pool, `ALTER INDEX events_time SET (autosummarize = off)`)
	for range 2 { // the second has nothing to do
		round(t, pool, retention.Config{})
		rows, err := pool.Query(t.Context(), `
			SELECT coalesce(array_to_string(reloptions, ' '), '')
			FROM timescaledb_information.chunks c
			JOIN pg_class r ON r.oid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
			WHERE hypertable_name = 'events' ORDER BY range_start`)
		require.NoError(t, err)
		options, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		rows, err = pool.Query(t.Context(), `
			SELECT array_to_string(reloptions, ' ')
			FROM timescaledb_information.chunks c
			JOIN pg_index i ON i.indrelid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
			JOIN pg_class r ON r.oid = i.indexrelid
			WHERE hypertable_name = 'events' AND reloptions IS NOT NULL ORDER BY range_start`)
		require.NoError(t, err)
		ranges, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		off := "pages_per_range=32 autosummarize=off"
		require.Equal(t, []string{off, off, off, off}, ranges)
		later, leave := " autovacuum_vacuum_insert_threshold=-1", "vacuum_index_cleanup=off"
		require.Equal(t, []string{leave + " autovacuum_vacuum_insert_threshold=5", leave + " fillfactor=90", leave + later, leave + later}, options)
	}
}
