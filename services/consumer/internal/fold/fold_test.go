package fold_test

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"weir/e2e/harness"
	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/fold"
	"weir/services/consumer/internal/store"
	"weir/services/shared/rollup"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestRollupsEqualRawAtEveryInstant reads while two write and two fold. Each
// comparison is one snapshot.
func TestRollupsEqualRawAtEveryInstant(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	s := &store.Store{Pool: pool, Timeout: 20 * time.Second}
	folder := func() *fold.Folder { return fold.New(pool, time.Second, fixture.Log(), prometheus.NewRegistry()) }

	const batches, size = 40, 150
	var writers, others errgroup.Group
	var done atomic.Bool
	for w := range 2 {
		writers.Go(func() error {
			b := batch.New()
			for i := range batches {
				lo := (2*i+w)*size - w*size/2 // each batch overlaps with one of the other's
				b.Reset()
				b.Add(fixture.Chunk("events", 1+lo, fixture.Series(lo, lo+size)...))
				b.Decode(fixture.Noon)
				for {
					_, err := s.Write(t.Context(), b)
					if err == nil {
						break
					}
					if store.Classify(err) != store.Outage || t.Context().Err() != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	var folded atomic.Int64
	for range 2 {
		f := folder()
		others.Go(func() error {
			for !done.Load() {
				n, err := f.Fold(t.Context())
				if err != nil {
					return err
				}
				folded.Add(n)
				if _, err := f.FoldUsers(t.Context()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	others.Go(func() error { defer done.Store(true); return writers.Wait() })
	comparisons := 0
	for !done.Load() {
		fixture.RollupsEqualRaw(t, pool)
		comparisons++
	}
	require.NoError(t, others.Wait())
	require.Greater(t, comparisons, 2)

	n, err := folder().Fold(t.Context())
	require.NoError(t, err)
	require.Positive(t, folded.Load()+n)
	_, err = folder().FoldUsers(t.Context())
	require.NoError(t, err)
	require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM rollup_user_deltas`))
	require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM rollup_deltas`))
	fixture.RollupsEqualRaw(t, pool)
	require.Equal(t, fixture.Number(t, pool, `SELECT count(*) FROM events`),
		fixture.Number(t, pool, `SELECT sum(events)::bigint FROM rollup_day WHERE dimension = 0`))
}

func TestAFolderThatStopsLeavesTheLogToReadersAndToTheNext(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	s := &store.Store{Pool: pool, Timeout: 20 * time.Second}
	for i := range 2 { // lines of the same minute and key
		b := batch.New()
		b.Add(fixture.Chunk("events", 1+i*25, fixture.Series(i*25, i*25+25)...))
		b.Decode(fixture.Noon)
		_, err := s.Write(t.Context(), b)
		require.NoError(t, err)
	}

	// Somebody else is at it.
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, int64(fold.LockKey))
	require.NoError(t, err)
	f := fold.New(pool, 10*time.Millisecond, fixture.Log(), prometheus.NewRegistry())
	n, err := f.Fold(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	fixture.RollupsEqualRaw(t, pool)
	require.NoError(t, tx.Rollback(t.Context()))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- f.Run(ctx) }()
	require.Eventually(t, func() bool {
		return fixture.Number(t, pool, `SELECT (SELECT count(*) FROM rollup_deltas) + (SELECT count(*) FROM rollup_user_deltas)`) == 0
	},
		fixture.Patience, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-stopped)
	fixture.RollupsEqualRaw(t, pool)
}

// TestEachFoldIsCountedInItsBuckets: by it, who remembers a bucket knows that it changed.
func TestEachFoldIsCountedInItsBuckets(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	s := &store.Store{Pool: pool, Timeout: 20 * time.Second}
	f := fold.New(pool, time.Second, fixture.Log(), prometheus.NewRegistry())
	before := map[string]int64{}
	for i := range 3 {
		b := batch.New()
		b.Add(fixture.Chunk("events", 1+i*25, fixture.Series(i*25, i*25+25)...))
		b.Decode(fixture.Noon)
		_, err := s.Write(t.Context(), b)
		require.NoError(t, err)
		_, err = f.Fold(t.Context())
		require.NoError(t, err)
		for _, table := range []string{"rollup_minute", "rollup_hour", "rollup_day"} {
			require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM `+table+` c WHERE dimension = 0
				AND NOT EXISTS (SELECT FROM `+table+` f WHERE f.dimension = 101 AND f.bucket = c.bucket)`), table)
			n := fixture.Number(t, pool, `SELECT sum(events)::bigint FROM `+table+` WHERE dimension = 101`)
			require.Greater(t, n, before[table], table)
			before[table] = n
		}
	}
	fixture.RollupsEqualRaw(t, pool)
}

// TestEachFoldOfUsersIsToldOfInItsBuckets: by it, who remembers sets of a bucket knows that
// they changed, and only there.
func TestEachFoldOfUsersIsToldOfInItsBuckets(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	s := &store.Store{Pool: pool, Timeout: 20 * time.Second}
	f := fold.New(pool, time.Second, fixture.Log(), prometheus.NewRegistry())
	told := func(table string) (list string) {
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(key_id || ' ' || bucket || ' ' || xmin, ', ' ORDER BY key_id, bucket), '')
			FROM `+table+` WHERE dimension = 101 AND users = ''`).Scan(&list))
		return list
	}
	tables := []string{"users_minute", "users_hour", "users_day"}
	for i := range 3 {
		before := map[string]string{}
		for _, table := range tables {
			before[table] = told(table)
		}
		b := batch.New()
		b.Add(fixture.Chunk("events", 1+i*25, fixture.Series(i*25, i*25+25)...))
		b.Decode(fixture.Noon)
		_, err := s.Write(t.Context(), b)
		require.NoError(t, err)
		n, err := f.FoldUsers(t.Context())
		require.NoError(t, err)
		require.Positive(t, n)
		for _, table := range tables {
			require.NotEqual(t, before[table], told(table), table)
			for log, dimensions := range []string{"= 0", "BETWEEN 1 AND 99"} {
				require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM `+table+` c WHERE dimension `+dimensions+` AND NOT EXISTS (
					SELECT FROM `+table+` f WHERE f.dimension = 101 AND f.key_id = $1 AND f.bucket = c.bucket AND f.xmin::text::bigint >= c.xmin::text::bigint)`, log), table)
			}
		}
		fixture.RollupsEqualRaw(t, pool)
		before = map[string]string{}
		for _, table := range tables {
			before[table] = told(table)
		}
		_, err = f.FoldUsers(t.Context()) // nothing
		require.NoError(t, err)
		for _, table := range tables {
			require.Equal(t, before[table], told(table), table)
		}
	}
}

// TestTheRoomOfFoldedLinesIsUsedAgain: else every question reads all that was folded since
// autovacuum came by.
func TestTheRoomOfFoldedLinesIsUsedAgain(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	fixture.Exec(t, pool, `ALTER TABLE rollup_deltas SET (autovacuum_enabled = off)`)
	fixture.Exec(t, pool, `INSERT INTO rollup_keys (dimension, type, value) VALUES (0, 'click', '')`)
	f := fold.New(pool, 10*time.Millisecond, fixture.Log(), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- f.Run(ctx) }()
	size := func() int64 { return fixture.Number(t, pool, `SELECT pg_relation_size('rollup_deltas')`) }
	var once int64
	for range 8 {
		fixture.Exec(t, pool, `INSERT INTO rollup_deltas (minute, key_id, events, dimension, value)
			SELECT 29000000 + i % 3, (SELECT id FROM rollup_keys), 1, 0, 0 FROM generate_series(1, 20000) AS i`)
		if once == 0 {
			once = size()
		}
		require.Eventually(t, func() bool {
			return fixture.Number(t, pool, `SELECT n_dead_tup + (SELECT count(*) FROM rollup_deltas) FROM pg_stat_user_tables WHERE relname = 'rollup_deltas'`) == 0
		}, fixture.Patience, 20*time.Millisecond)
	}
	require.Positive(t, once)
	require.LessOrEqual(t, size(), 4*once)
	cancel()
	require.NoError(t, <-stopped)
}

// TestALogThatWasLongIsShortAgain: every question reads its pages, empty or not. What an old
// transaction may still see stays until that has ended.
func TestALogThatWasLongIsShortAgain(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	fixture.Exec(t, pool, `ALTER TABLE rollup_deltas SET (autovacuum_enabled = off)`)
	fixture.Exec(t, pool, `INSERT INTO rollup_keys (dimension, type, value) VALUES (0, 'click', '')`)
	fixture.Exec(t, pool, `INSERT INTO rollup_deltas (minute, key_id, events, dimension, value)
		SELECT 29000000 + i % 3, (SELECT id FROM rollup_keys), 1, 0, 0 FROM generate_series(1, 600000) AS i`)
	// Of 35 MiB the last three quarters can go at once, the first only after a transaction
	// that may still see it: the first VACUUM leaves 9 MiB.
	fixture.Exec(t, pool, `DELETE FROM rollup_deltas WHERE ctid >= '(1100,0)'`)
	left := fixture.Number(t, pool, `SELECT count(*) FROM rollup_deltas`)
	old, err := pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = old.Rollback(context.Background()) })
	_, err = old.Exec(t.Context(), `SELECT pg_current_xact_id()`)
	require.NoError(t, err)
	f := fold.New(pool, 10*time.Millisecond, fixture.Log(), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- f.Run(ctx) }()
	// VACUUM writes down how many pages it left. Asking for the size would lock the table,
	// for which VACUUM stops giving back.
	pages := func() int64 {
		return fixture.Number(t, pool, `SELECT relpages FROM pg_class WHERE relname = 'rollup_deltas'`)
	}
	require.Eventually(t, func() bool { return pages() == 1100 }, fixture.Patience, 20*time.Millisecond)
	require.NoError(t, old.Rollback(t.Context()))
	require.Eventually(t, func() bool { return pages() == 0 }, fixture.Patience, 20*time.Millisecond)
	require.Zero(t, fixture.Number(t, pool, `SELECT pg_relation_size('rollup_deltas')`))
	require.Equal(t, left, fixture.Number(t, pool, `SELECT sum(events)::bigint FROM rollup_day WHERE dimension = 0`))
	cancel()
	require.NoError(t, <-stopped)
}

// TestALogOfUsersIsFoldedBesideTheOther: a fold of the one rests for seconds, which the
// other is not to wait for. Who locks all users, as rebuilding does, is alone.
func TestALogOfUsersIsFoldedBesideTheOther(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	s := &store.Store{Pool: pool, Timeout: 20 * time.Second}
	b := batch.New()
	b.Add(fixture.Chunk("events", 1, fixture.Series(0, 50)...))
	b.Decode(fixture.Noon)
	_, err := s.Write(t.Context(), b)
	require.NoError(t, err)
	waiting := func() (lines [2]int64) {
		for i, log := range rollup.UserLogs {
			lines[i] = fixture.Number(t, pool, `SELECT count(*) FROM `+log)
		}
		return lines
	}
	all := waiting()
	require.Positive(t, all[0])
	require.Positive(t, all[1])

	f := fold.New(pool, time.Second, fixture.Log(), prometheus.NewRegistry())
	for _, c := range []struct {
		held int64
		left [2]int64
	}{
		{fold.UsersLockKey, all},
		{fold.UsersLockKey + 2, [2]int64{0, all[1]}},
	} {
		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		defer tx.Rollback(context.Background()) // else a failure waits for the pool to close
		_, err = tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, c.held)
		require.NoError(t, err)
		_, err = f.FoldUsers(t.Context())
		require.NoError(t, err)
		require.Equal(t, c.left, waiting())
		require.NoError(t, tx.Rollback(t.Context()))
	}
	n, err := f.FoldUsers(t.Context())
	require.NoError(t, err)
	require.Equal(t, all[1], n)
	fixture.RollupsEqualRaw(t, pool)
}
