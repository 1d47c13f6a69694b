package blockrange_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"weir/e2e/harness"
	"weir/services/consumer/internal/blockrange"
	"weir/services/consumer/internal/fixture"
	"weir/services/shared/event"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// open returns a summarizer of a new database in which nobody else summarizes, and whose
// block ranges are used however few rows there are.
func open(t *testing.T) (*blockrange.Summarizer, *pgxpool.Pool) {
	t.Helper()
	pool := fixture.Pool(t, fixture.Box(t))
	for _, other := range []string{"enable_seqscan", "enable_indexscan", "enable_indexonlyscan"} {
		fixture.Exec(t, pool, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET `+other+` = off', current_database()); END $$`)
	}
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
	fixture.Exec(t, pool, insert, ago, rows)
}

const insert = `
	INSERT INTO events (id, time, type, source, user_id)
	SELECT gen_random_uuid(), now() - make_interval(secs => $1) + i * interval '1 ms', 'page_view', 'shop', repeat('u', 200)
	FROM generate_series(1, $2) AS i`

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

// narrow makes ranges of one block, so that a page of the map is for 1,360 blocks, 11 MB.
func narrow(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	fixture.Exec(t, pool, `DROP INDEX events_time`)
	fixture.Exec(t, pool, `CREATE INDEX events_time ON events USING brin (time timestamptz_minmax_multi_ops) WITH (pages_per_range = 1)`)
}

const mapped = 1360 // blocks of narrow ranges

// settle does rounds until there is nothing left to do.
func settle(t *testing.T, s *blockrange.Summarizer) (ranges int) {
	t.Helper()
	for {
		n, err := s.Round(t.Context())
		require.NoError(t, err)
		if n == 0 {
			return ranges
		}
		ranges += n
	}
}

// rest lets the time pass after which traffic is at rest.
func rest(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	require.Equal(t, int64(1), fixture.Number(t, pool, `WITH u AS (UPDATE summarized_ranges SET at = at - interval '11 seconds' RETURNING 1) SELECT count(*) FROM u`))
}

func size(t *testing.T, pool *pgxpool.Pool) int64 {
	t.Helper()
	return fixture.Number(t, pool, `
		SELECT coalesce(sum(pg_relation_size(format('%I.%I', chunk_schema, chunk_name)::regclass)), 0)::bigint / 8192
		FROM timescaledb_information.chunks WHERE hypertable_name = 'events'`)
}

func TestARoundThatIsNotTheLastBeginsWithTheNewest(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	narrow(t, pool)
	fill(t, pool, 40, 30_000)
	n, err := s.Round(t.Context())
	require.NoError(t, err)
	require.Equal(t, 500, n)
	require.Greater(t, blocks(t, pool), int64(300), "the oldest are not summarized yet")
	settle(t, s)
	require.Less(t, blocks(t, pool), int64(100))
	fill(t, pool, 10, 3_000)
	require.Less(t, settle(t, s), 150, "what is summarized is not again")
	require.Less(t, blocks(t, pool), int64(100))
}

// grow has one COPY under way while the table outgrows the first page of the map and
// something is done; what the COPY writes after that comes into ranges beyond. It returns
// how many rows it wrote and how many of them are found by their time.
func grow(t *testing.T, pool *pgxpool.Pool, meanwhile func()) (written int, found func() int) {
	t.Helper()
	in, out := io.Pipe()
	var copying errgroup.Group
	copying.Go(func() error {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			return err
		}
		defer conn.Release()
		_, err = conn.Conn().PgConn().CopyFrom(t.Context(), in, `COPY events (id, time, type, source, user_id) FROM STDIN`)
		return errors.Join(err, in.CloseWithError(err))
	})
	start := time.Now().Truncate(time.Second).Add(-2 * time.Minute)
	write := func(rows int) {
		for range rows {
			at := start.Add(time.Duration(written) * time.Millisecond)
			_, err := fmt.Fprintf(out, "%s\t%s\tpage_view\tcopy\t%s\n", event.NewID(at), at.Format(time.RFC3339Nano), strings.Repeat("u", 200))
			require.NoError(t, err)
			written++
		}
	}
	for before := size(t, pool); size(t, pool) == before; {
		write(500) // it looks up how long the map is
	}
	// Blocks for it to fill when the map has grown.
	failed, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = failed.Rollback(context.WithoutCancel(t.Context())) }()
	for size(t, pool) < mapped+100 {
		_, err := failed.Exec(t.Context(), insert, 200, 1_000)
		require.NoError(t, err)
	}
	require.NoError(t, failed.Rollback(t.Context()))
	fill(t, pool, 100, 100)
	meanwhile()
	fixture.Exec(t, pool, `VACUUM events`)
	write(5_000)
	require.NoError(t, out.Close())
	require.NoError(t, copying.Wait())
	return written, func() int {
		return int(fixture.Number(t, pool, `
			SELECT sum(n)::bigint
			FROM generate_series($1::timestamptz, $1::timestamptz + $2::integer * interval '1 ms', interval '100 ms') AS begins
			CROSS JOIN LATERAL (SELECT count(*) AS n FROM events WHERE source = 'copy' AND time >= begins AND time < begins + interval '100 ms') AS c`, start, written))
	}
}

// TestRowsAreFoundThoughTheMapGrew: neither rounds nor VACUUM make it grow while somebody
// inserts who would not notice, whether or not there were rounds before.
func TestRowsAreFoundThoughTheMapGrew(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"after rounds": true, "in the first round": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, pool := open(t)
			narrow(t, pool)
			for size(t, pool) < mapped-100 {
				fill(t, pool, 300, 1_000)
			}
			if known {
				settle(t, s)
			}
			written, found := grow(t, pool, func() { settle(t, s) })
			require.Equal(t, written, found())
			fixture.Exec(t, pool, `UPDATE summarized_ranges SET again = now()`)
			require.Greater(t, settle(t, s), 100, "nobody inserts any more")
			require.Equal(t, written, found())
			require.Less(t, blocks(t, pool), int64(100))
		})
	}
}

// TestWritersAreHeldUpForOneRangeOnly, not until the round's end.
func TestWritersAreHeldUpForOneRangeOnly(t *testing.T) {
	t.Parallel()
	_, pool := open(t)
	narrow(t, pool)
	for size(t, pool) < mapped+100 {
		fill(t, pool, 300, 5_000)
	}
	round, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = round.Rollback(context.WithoutCancel(t.Context())) }()
	var ranges int
	require.NoError(t, round.QueryRow(t.Context(), `SELECT summarize_newest_events()`).Scan(&ranges))
	require.Positive(t, ranges)
	fixture.Exec(t, pool, `SET lock_timeout = '20s'; INSERT INTO events (id, time, type, source) VALUES (gen_random_uuid(), now(), '', '')`)
}

// TestRowsThatWereMissingAreFoundAgain: what others summarized is summarized anew, the last ranges
// when they are full or at rest.
func TestRowsThatWereMissingAreFoundAgain(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	narrow(t, pool)
	for size(t, pool) < mapped-100 {
		fill(t, pool, 300, 1_000)
	}
	fixture.Exec(t, pool, `ALTER TABLE events RESET (vacuum_index_cleanup)`) // as before migration 14
	written, found := grow(t, pool, func() {})
	if n := found(); n == written {
		t.Log("This PostgreSQL does not lose rows.")
	}
	settle(t, s)
	rest(t, pool)
	settle(t, s)
	require.Equal(t, written, found())
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

// TestAtRestTheLastRangesAreSummarizedToo: nobody would fill them, and every question about the
// newest events would read them.
func TestAtRestTheLastRangesAreSummarizedToo(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	fill(t, pool, 60, 30_000)
	settle(t, s)
	before := blocks(t, pool)
	rest(t, pool)
	n, err := s.Round(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Less(t, blocks(t, pool), before, "what holds the last second, and no more")

	fill(t, pool, 20, 1_000) // within the last range
	require.Zero(t, settle(t, s))
	fill(t, pool, 10, 10_000)
	require.Positive(t, settle(t, s))
	rest(t, pool)
	require.Equal(t, 3, settle(t, s))
	require.Equal(t, int64(41_000), fixture.Number(t, pool, `SELECT count(*) FROM events WHERE time >= now() - interval '1 hour' AND time < now() + interval '1 hour'`))
}
