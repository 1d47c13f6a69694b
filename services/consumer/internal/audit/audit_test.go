package audit_test

import (
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"weir/e2e/harness"
	"weir/services/consumer/internal/audit"
	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/fold"
	"weir/services/consumer/internal/store"
	"weir/services/shared/rollup"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// write stores the events lo to hi, and folds them unless they shall stay in the log.
func write(t *testing.T, pool *pgxpool.Pool, lo, hi int, folded bool) {
	t.Helper()
	b := batch.New()
	b.Add(fixture.Chunk("events", 1+lo, fixture.Series(lo, hi)...))
	b.Decode(fixture.Noon)
	_, err := (&store.Store{Pool: pool, Timeout: 20 * time.Second}).Write(t.Context(), b)
	require.NoError(t, err)
	if folded {
		f := fold.New(pool, time.Second, fixture.Log(), prometheus.NewRegistry())
		_, err := f.Fold(t.Context())
		require.NoError(t, err)
		_, err = f.FoldUsers(t.Context())
		require.NoError(t, err)
	}
}

func verify(t *testing.T, pool *pgxpool.Pool, s audit.Span) (list []audit.Difference) {
	t.Helper()
	require.NoError(t, audit.Verify(t.Context(), pool, s, func(d audit.Difference) { list = append(list, d) }))
	return list
}

// faults are ways in which rollups go wrong. Each makes differences in some grain.
var faults = map[string]string{
	"a count is off":          `UPDATE rollup_minute SET events = events + 1 WHERE ctid = (SELECT ctid FROM rollup_minute LIMIT 1)`,
	"a sum is off":            `UPDATE rollup_hour SET value = value - 0.000001 WHERE dimension = 1`,
	"a bucket is missing":     `DELETE FROM rollup_day WHERE dimension = 0`,
	"all are missing":         `DELETE FROM rollup_minute`,
	"the log is lost":         `TRUNCATE rollup_deltas`,
	"the log is folded twice": `INSERT INTO rollup_deltas SELECT * FROM rollup_deltas`,
	"a bucket too many":       `INSERT INTO rollup_hour SELECT bucket + interval '3 hours', dimension, key_id, 5, 7 FROM rollup_hour LIMIT 3`,
	"an unknown key":          `INSERT INTO rollup_minute VALUES ('2026-03-14 12:00Z', 3, 999999, 1, 0)`,
	"a key is missing":        `DELETE FROM rollup_keys WHERE dimension = 7`,
	"users are missing":       `DELETE FROM users_hour WHERE dimension = 1`,
	"sessions are missing":    `DELETE FROM users_minute WHERE dimension = 100`,
	"a user too many":         `UPDATE users_day SET users = users || '\xcafebabe'::bytea`,
	"a stranger in the log":   `INSERT INTO rollup_user_deltas SELECT minute, key_id, dimension, '\x01cafebabe' FROM rollup_user_deltas LIMIT 1`,
	"the users' log is lost":  `TRUNCATE rollup_user_deltas`,
	"users without events":    `INSERT INTO users_hour SELECT bucket + interval '3 hours', dimension, key_id, users FROM users_hour LIMIT 3`,
}

func TestVerifySeesEveryFaultAndRebuildMendsIt(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	write(t, pool, 0, 300, true)
	write(t, pool, 300, 400, false) // in the log
	require.Empty(t, verify(t, pool, fixture.Day))
	n, err := audit.Rebuild(t.Context(), pool, fixture.Day, false)
	require.NoError(t, err)
	require.Zero(t, n, "what is right is left alone")

	events := 400
	for name, fault := range faults {
		write(t, pool, events, events+10, false) // the last rebuild may have left the log empty
		events += 10
		fixture.Exec(t, pool, fault)
		found := verify(t, pool, fixture.Day)
		require.NotEmpty(t, found, name)
		n, err := audit.Rebuild(t.Context(), pool, fixture.Day, false)
		require.NoError(t, err, name)
		require.GreaterOrEqual(t, int(n), len(found)/2, name)
		require.Empty(t, verify(t, pool, fixture.Day), name)
		require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM hours WHERE events = 0`), name)
		require.Equal(t, n, fixture.Number(t, pool, `SELECT corrected FROM rebuilds ORDER BY id DESC LIMIT 1`), "who remembers rollups is told")
	}
	write(t, pool, events, events+50, true)
	require.Empty(t, verify(t, pool, fixture.Day), "events go on being counted")
}

func TestADifferenceIsToldInWords(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	write(t, pool, 0, 9, true)
	fixture.Exec(t, pool, `UPDATE rollup_day SET events = events + 2, value = value + 500000 WHERE key_id =
		(SELECT id FROM rollup_keys WHERE dimension = 0 AND type = 'purchase')`)
	require.Equal(t, []audit.Difference{{
		Grain: "day", Bucket: fixture.Day.From, Key: rollup.Key{Type: "purchase"},
		Raw: audit.Tally{Events: 3, Sum: "15.151515"}, Rolled: audit.Tally{Events: 5, Sum: "15.651515"},
	}}, verify(t, pool, fixture.Day))

	hour := audit.Span{From: fixture.Noon, To: fixture.Noon.Add(time.Hour)}
	require.Empty(t, verify(t, pool, hour), "the day is not within the span")
}

func TestRebuildMendsWhileEventsFlow(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	write(t, pool, 0, 1000, true)
	fixture.Exec(t, pool, `DELETE FROM rollup_hour`)
	fixture.Exec(t, pool, `UPDATE rollup_minute SET events = events * 2, value = 0`)
	fixture.Exec(t, pool, `DELETE FROM rollup_day WHERE dimension > 3`)
	require.NotEmpty(t, verify(t, pool, fixture.Day))

	var done atomic.Bool
	var others errgroup.Group
	s := &store.Store{Pool: pool, Timeout: 20 * time.Second}
	others.Go(func() error { // events of the very buckets that are rebuilt
		b := batch.New()
		for i := 0; !done.Load(); i++ {
			var payloads []string
			for j := range 100 {
				e := fixture.Event(1000 + i*100 + j)
				e.Time = fixture.Event(j * 10).Time
				payloads = append(payloads, fixture.Payload(e))
			}
			b.Reset()
			b.Add(fixture.Chunk("events", 1, payloads...))
			b.Decode(fixture.Noon)
			if _, err := s.Write(t.Context(), b); err != nil {
				return err
			}
		}
		return nil
	})
	f := fold.New(pool, time.Second, fixture.Log(), prometheus.NewRegistry())
	others.Go(func() error {
		for !done.Load() {
			if _, err := f.Fold(t.Context()); err != nil {
				return err
			}
			if _, err := f.FoldUsers(t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
	var rebuilds errgroup.Group
	for range 2 { // two at once correct once
		rebuilds.Go(func() error {
			_, err := audit.Rebuild(t.Context(), pool, fixture.Day, false)
			return err
		})
	}
	require.NoError(t, rebuilds.Wait())
	for range 3 {
		require.Empty(t, verify(t, pool, fixture.Day))
	}
	done.Store(true)
	require.NoError(t, others.Wait())
	require.Empty(t, verify(t, pool, fixture.Day))
}

func TestRebuildNeverErasesWhatRetentionLeft(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	write(t, pool, 0, 10, true)
	fixture.Exec(t, pool, `DELETE FROM events`)
	_, err := audit.Rebuild(t.Context(), pool, fixture.Day, false)
	require.ErrorIs(t, err, audit.ErrNoRaw)
	require.Positive(t, fixture.Number(t, pool, `SELECT count(*) FROM days`))
	_, err = audit.Rebuild(t.Context(), pool, fixture.Day, true)
	require.NoError(t, err)
	require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM days`))
}

func TestSpansThatCutBucketsAreRefused(t *testing.T) {
	t.Parallel()
	noon := fixture.Noon
	for _, s := range []audit.Span{{}, {noon, noon}, {noon, noon.Add(-time.Hour)}, {noon.Add(time.Second), noon.Add(time.Hour)}, {noon, noon.Add(time.Minute)}} {
		require.ErrorIs(t, audit.Verify(t.Context(), nil, s, nil), audit.ErrSpan)
	}
	_, err := audit.Rebuild(t.Context(), nil, audit.Span{From: noon, To: noon.Add(24 * time.Hour)}, false)
	require.ErrorIs(t, err, audit.ErrSpanDays)
}
