package blockrange_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/consumer/internal/blockrange"
	"weir/services/consumer/internal/fixture"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// open returns a summarizer of a new database in which nobody else summarizes, and whose
// block ranges are used however few rows there are.
func open(t *testing.T) (*blockrange.Summarizer, *pgxpool.Pool) {
	t.Helper()
	pool := fixture.Pool(t, fixture.Box(t))
	fixture.Exec(t, pool, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$`)
	fixture.Exec(t, pool, `ALTER TABLE events SET (autovacuum_enabled = off)`) // chunks take it over
	pool.Reset()
	return &blockrange.Summarizer{Pool: pool, Log: fixture.Log()}, pool
}

// blocks is how many blocks of the table are read for the events of the last second.
func blocks(t *testing.T, pool *pgxpool.Pool) int64 {
	t.Helper()
	var text []byte
	require.NoError(t, pool.QueryRow(t.Context(), `
		EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT count(user_id) FROM events
		WHERE time >= (SELECT max(time) - interval '1 second' FROM events)`).Scan(&text))
	var plan any
	require.NoError(t, json.Unmarshal(text, &plan))
	var lossy float64
	var walk func(any)
	walk = func(x any) {
		switch x := x.(type) {
		case []any:
			for _, y := range x {
				walk(y)
			}
		case map[string]any:
			if n, ok := x["Lossy Heap Blocks"].(float64); ok {
				lossy += n
			}
			for _, y := range x {
				walk(y)
			}
		}
	}
	walk(plan)
	return int64(lossy)
}

// fill adds rows, one a millisecond from the given second before now on.
func fill(t *testing.T, pool *pgxpool.Pool, ago, rows int) {
	t.Helper()
	fixture.Exec(t, pool, `
		INSERT INTO events (id, time, type, source, user_id)
		SELECT gen_random_uuid(), now() - make_interval(secs => $1) + i * interval '1 ms', 'page_view', 'shop', repeat('u', 200)
		FROM generate_series(1, $2) AS i`, ago, rows)
}

func TestTheNewestEventsAreFoundWithoutReadingWhatCameBefore(t *testing.T) {
	t.Parallel()
	s, pool := open(t)

	n, err := s.Round(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "there is no chunk yet")

	fill(t, pool, 40, 30_000)
	all := blocks(t, pool)
	require.Greater(t, all, int64(900))
	n, err = s.Round(t.Context())
	require.NoError(t, err)
	require.Greater(t, n, 20)
	require.Less(t, blocks(t, pool), int64(5*32))

	n, err = s.Round(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "nothing came since")
	fill(t, pool, 10, 10_000)
	n, err = s.Round(t.Context())
	require.NoError(t, err)
	require.Positive(t, n)
	require.Less(t, blocks(t, pool), int64(5*32))
}

// TestWhatRoundsLeftOutIsSummarized: what lies behind known ranges is not found by a round,
// nor by autovacuum while the chunk is filled.
func TestWhatRoundsLeftOutIsSummarized(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	fill(t, pool, 40, 30_000)
	_, err := s.Round(t.Context())
	require.NoError(t, err)

	const forgotten = 10
	fixture.Exec(t, pool, `
		SELECT brin_desummarize_range(i.indexrelid, 32 * n)
		FROM pg_index i JOIN pg_class r ON r.oid = i.indexrelid JOIN pg_am a ON a.oid = r.relam AND a.amname = 'brin'
		JOIN timescaledb_information.chunks c ON i.indrelid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
		CROSS JOIN generate_series(0, $1 - 1) AS n`, forgotten)
	n, err := s.Round(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	require.Greater(t, blocks(t, pool), int64(forgotten*32))
	n, err = s.Sweep(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, forgotten)
	require.Less(t, blocks(t, pool), int64(5*32))
}

// TestSummarizingWaitsForNobody has a VACUUM's lock held, and the lock of another consumer.
func TestSummarizingWaitsForNobody(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	fill(t, pool, 10, 10_000)
	s := &blockrange.Summarizer{Pool: pool, Log: fixture.Log()}
	round := func() int {
		start := time.Now()
		n, err := s.Round(t.Context())
		require.NoError(t, err)
		require.Less(t, time.Since(start), 20*time.Second)
		return n
	}
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, int64(blockrange.LockKey))
	require.NoError(t, err)
	require.Zero(t, round())
	require.NoError(t, tx.Rollback(t.Context()))

	tx, err = pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE`) // with its chunks
	require.NoError(t, err)
	require.Zero(t, round())
	require.NoError(t, tx.Rollback(t.Context()))
	require.Positive(t, round())
}
