package retention_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/retention"
)

// atOnce reports whether a writer gets its row of tomorrow in while another, who was the
// first to have one, has not committed.
func atOnce(t *testing.T, pool *pgxpool.Pool, table, row string) bool {
	t.Helper()
	first, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer first.Rollback(context.Background())
	_, err = first.Exec(t.Context(), `INSERT INTO `+table+` `+row, time.Now().Add(24*time.Hour), 1)
	require.NoError(t, err)

	second, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer second.Rollback(context.Background())
	_, err = second.Exec(t.Context(), `SET LOCAL lock_timeout = '300ms'`)
	require.NoError(t, err)
	_, err = second.Exec(t.Context(), `INSERT INTO `+table+` `+row, time.Now().Add(24*time.Hour), 2)
	if err != nil {
		require.ErrorContains(t, err, "lock timeout")
	}
	return err == nil
}

func TestTheFirstWritersOfADayDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	pool := open(t)
	rows := map[string]string{
		"events":        `(time, id, type, source) VALUES ($1, ('00000000-0000-0000-0000-00000000000' || $2::int)::uuid, '', '')`,
		"rollup_minute": `(bucket, key_id, dimension, events, value) VALUES ($1, $2, 0, 1, 1)`,
		"rollup_hour":   `(bucket, key_id, dimension, events, value) VALUES ($1, $2, 0, 1, 1)`,
		"rollup_day":    `(bucket, key_id, dimension, events, value) VALUES ($1, $2, 0, 1, 1)`,
		"users_minute":  `(bucket, key_id, dimension, users) VALUES ($1, $2, 0, '')`,
		"users_hour":    `(bucket, key_id, dimension, users) VALUES ($1, $2, 0, '')`,
		"users_day":     `(bucket, key_id, dimension, users) VALUES ($1, $2, 0, '')`,
	}
	for table, row := range rows {
		require.False(t, atOnce(t, pool, table, row), "%s: without the chunk they do wait", table)
	}
	round(t, pool, retention.Config{})
	for table, row := range rows {
		require.True(t, atOnce(t, pool, table, row), table)
		require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM `+table), "nothing is left in it")
	}

	chunks := func() int64 { return fixture.Number(t, pool, `SELECT count(*) FROM timescaledb_information.chunks`) }
	before := chunks()
	require.GreaterOrEqual(t, before, int64(10), "two of each day, one or two of the longer ones")
	round(t, pool, retention.Config{})
	require.Equal(t, before, chunks(), "what is there is left alone")
}

func TestShortChunksAreCreatedAheadToo(t *testing.T) {
	t.Parallel()
	pool := open(t)
	fixture.Exec(t, pool, `SELECT set_chunk_time_interval('events', interval '1 hour')`)
	round(t, pool, retention.Config{})
	rows, err := pool.Query(t.Context(), `
		SELECT range_end - range_start FROM timescaledb_information.chunks
		WHERE hypertable_name = 'events' AND range_end > now() AND range_start <= now() + interval '1 hour'`)
	require.NoError(t, err)
	lengths, err := pgx.CollectRows(rows, pgx.RowTo[time.Duration])
	require.NoError(t, err)
	require.Equal(t, []time.Duration{time.Hour, time.Hour}, lengths)
}
