package retention_test

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"weir/e2e/harness"
	"weir/services/consumer/internal/audit"
	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/fold"
	"weir/services/consumer/internal/retention"
	"weir/services/consumer/internal/store"
	"weir/services/shared/edition"
	"weir/services/shared/event"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const day = 24 * time.Hour

// open returns a migrated database in which the scheduler of the Community edition does
// nothing by itself: jobs run when the test has them run.
func open(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := fixture.Pool(t, fixture.Box(t))
	fixture.Exec(t, pool, `SELECT _timescaledb_functions.stop_background_workers()`)
	return pool
}

func keeper(pool *pgxpool.Pool, c retention.Config) *retention.Keeper {
	c.Every = time.Hour
	return retention.New(c, pool, fixture.Log(), prometheus.NewRegistry())
}

// round does a round, and has the Community edition carry out the policies.
func round(t *testing.T, pool *pgxpool.Pool, c retention.Config) {
	t.Helper()
	require.NoError(t, keeper(pool, c).Round(t.Context()))
	require.NoError(t, runJobs(t.Context(), pool))
}

func runJobs(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, `SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL ORDER BY 1`)
	if err != nil {
		return err
	}
	jobs, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	for _, id := range jobs {
		if _, err := pool.Exec(ctx, `CALL run_job($1)`, id); err != nil {
			return err
		}
	}
	return nil
}

// write stores an event for each age and folds it. Ids go on from first.
func write(t *testing.T, pool *pgxpool.Pool, first int, ages ...time.Duration) {
	t.Helper()
	b := batch.New()
	var payloads []string
	for i, age := range ages {
		payloads = append(payloads, fixture.Payload(aged(first+i, age)))
	}
	b.Add(fixture.Chunk("events", first+1, payloads...))
	b.Decode(time.Now())
	r, err := (&store.Store{Pool: pool, Timeout: 20 * time.Second}).Write(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, len(ages), r.Inserted)
	foldAll(t, pool)
}

func aged(i int, age time.Duration) event.Event {
	e := fixture.Event(i)
	e.Time = time.Now().Add(-age).UTC().Truncate(time.Microsecond)
	return e
}

func foldAll(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	f := fold.New(pool, time.Second, fixture.Log(), prometheus.NewRegistry())
	_, err := f.Fold(t.Context())
	require.NoError(t, err)
	_, err = f.FoldUsers(t.Context())
	require.NoError(t, err)
}

func apache(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	s, err := edition.Detect(t.Context(), pool)
	require.NoError(t, err)
	if s.Edition != edition.Apache {
		t.Skip("on the Community edition TimescaleDB's own job drops the chunks")
	}
}

var grains = []string{"events", "rollup_minute", "users_minute", "rollup_hour", "users_hour", "rollup_day", "users_day"}

// oldest returns the greatest age in days among a table's rows.
func oldest(t *testing.T, pool *pgxpool.Pool, table string) int64 {
	t.Helper()
	column := "bucket"
	if table == "events" {
		column = "time"
	}
	return fixture.Number(t, pool, `SELECT coalesce(extract(day FROM now() - min(`+column+`)), -1)::bigint FROM `+table)
}

func TestEveryTableKeepsItsOwnAge(t *testing.T) {
	t.Parallel()
	pool := open(t)
	write(t, pool, 0, 0, 5*day, 20*day, 60*day, 200*day, 800*day)
	c := retention.Config{Events: 10 * day, Minutes: 30 * day, Hours: 100 * day, Days: 420 * day}

	round(t, pool, retention.Config{})
	for _, table := range grains {
		require.GreaterOrEqual(t, oldest(t, pool, table), int64(800), "%s is kept for ever", table)
	}
	for range 2 { // again changes nothing
		round(t, pool, c)
		// A chunk goes as a whole, so those of 30 and 365 days last somewhat longer.
		for table, want := range map[string][2]int64{
			"events": {5, 5}, "rollup_minute": {20, 20}, "users_minute": {20, 20},
			"rollup_hour": {60, 60}, "users_hour": {60, 60}, "rollup_day": {200, 200}, "users_day": {200, 200},
		} {
			got := oldest(t, pool, table)
			require.GreaterOrEqual(t, got, want[0], table)
			require.LessOrEqual(t, got, want[1], table)
		}
	}

	write(t, pool, 6, 60*day) // later than its row would be kept: stored and counted as any other
	require.EqualValues(t, 60, oldest(t, pool, "events"))
	require.EqualValues(t, 2, fixture.Number(t, pool, `
		SELECT sum(events) FROM days WHERE dimension = 0 AND bucket BETWEEN now() - interval '62 days' AND now() - interval '58 days'`))
	round(t, pool, c)
	require.EqualValues(t, 5, oldest(t, pool, "events"), "and dropped by the next round")
}

func TestWhatWasDroppedIsNotTakenForADifference(t *testing.T) {
	t.Parallel()
	pool := open(t)
	write(t, pool, 0, day, 5*day, 20*day, 20*day)
	round(t, pool, retention.Config{Events: 10 * day})
	midnight := time.Now().UTC().Truncate(day)
	all := audit.Span{From: midnight.Add(-30 * day), To: midnight.Add(day)}
	old := audit.Span{From: midnight.Add(-30 * day), To: midnight.Add(-11 * day)}
	for i, c := range []retention.Config{{Events: 10 * day}, {}, {Events: 90 * day}} { // also after the age was raised
		round(t, pool, c)
		write(t, pool, 4+i, 20*day) // some rows of that day are there again
		require.NoError(t, audit.Verify(t.Context(), pool, all, func(d audit.Difference) { t.Error(d) }))
		require.ErrorIs(t, audit.Verify(t.Context(), pool, old, nil), audit.ErrDropped)
		kept, err := audit.Kept(t.Context(), pool, all)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(-10*day), kept.From, 3*time.Hour)
		_, err = audit.Rebuild(t.Context(), pool, all, false)
		require.ErrorIs(t, err, audit.ErrNoRaw)
		require.EqualValues(t, 5+i, fixture.Number(t, pool, `SELECT sum(events) FROM days WHERE dimension = 0`))
	}
	_, err := audit.Rebuild(t.Context(), pool, audit.Span{From: midnight.Add(-8 * day), To: midnight.Add(day)}, false)
	require.NoError(t, err)
}

func TestADropWaitsForNobodyLong(t *testing.T) {
	t.Parallel()
	pool := open(t)
	apache(t, pool)
	write(t, pool, 0, day, 20*day, 21*day)
	reader, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer reader.Rollback(context.Background())
	var n int
	require.NoError(t, reader.QueryRow(t.Context(), `SELECT count(*) FROM events`).Scan(&n))

	done := make(chan error, 1)
	k := keeper(pool, retention.Config{Events: 10 * day, Minutes: 10 * day})
	go func() { done <- k.Round(t.Context()) }()
	s, slowest := store.Store{Pool: pool, Timeout: 20 * time.Second}, time.Duration(0)
	for i := 100; ; i++ { // a writer goes on, with events for the very chunk
		b := batch.New()
		b.Add(fixture.Chunk("events", i, fixture.Payload(aged(i, 21*day))))
		b.Decode(time.Now())
		start := time.Now()
		_, err := s.Write(t.Context(), b)
		require.NoError(t, err)
		slowest = max(slowest, time.Since(start))
		select {
		case err := <-done:
			require.ErrorContains(t, err, "lock timeout")
			require.Less(t, slowest, 5*time.Second)
			t.Logf("the slowest of %d writes took %v", i-99, slowest)
			require.NotEqualValues(t, 20, oldest(t, pool, "rollup_minute"), "the other tables had their turn")
			require.NoError(t, reader.Rollback(t.Context()))
			require.NoError(t, k.Round(t.Context()), "the next round does it")
			require.EqualValues(t, 1, oldest(t, pool, "events"))
			return
		default:
		}
	}
}

func TestEventsForAChunkThatIsJustDroppedAreNeitherRefusedNorStuck(t *testing.T) {
	t.Parallel()
	pool := open(t)
	c := retention.Config{Events: 10 * day}
	var done atomic.Bool
	var writers errgroup.Group
	var written atomic.Int64
	for w := range 2 {
		writers.Go(func() error {
			s := &store.Store{Pool: pool, Timeout: 20 * time.Second}
			b := batch.New()
			for i := w * 1_000_000; !done.Load(); i += 10 {
				b.Reset()
				var payloads []string
				for j := range 10 {
					payloads = append(payloads, fixture.Payload(aged(i+j, time.Duration(j)*4*day)))
				}
				b.Add(fixture.Chunk("events", 1+i, payloads...))
				b.Decode(time.Now())
				for {
					r, err := s.Write(t.Context(), b)
					if err == nil {
						if r.Dead > 0 {
							t.Error("an event was dead-lettered")
						}
						break
					}
					if store.Classify(err) != store.Outage || t.Context().Err() != nil {
						return err
					}
					t.Log("a batch is tried again: ", err)
				}
				written.Add(10)
			}
			return nil
		})
	}
	k := keeper(pool, c)
	for rounds := 0; rounds < 5 || written.Load() < 500; rounds++ {
		if err := errors.Join(k.Round(t.Context()), runJobs(t.Context(), pool)); err != nil {
			t.Log("a round is left to the next: ", err)
		}
	}
	done.Store(true)
	require.NoError(t, writers.Wait())
	foldAll(t, pool)
	require.Equal(t, written.Load(), fixture.Number(t, pool, `SELECT sum(events) FROM days WHERE dimension = 0`), "each was counted once")
	round(t, pool, c)
	require.LessOrEqual(t, oldest(t, pool, "events"), int64(10))
}

func TestOneConsumerAtATimeLooksAfterTheTables(t *testing.T) {
	t.Parallel()
	pool := open(t)
	write(t, pool, 0, 20*day)
	other, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer other.Rollback(context.Background())
	_, err = other.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, int64(retention.LockKey))
	require.NoError(t, err)
	round(t, pool, retention.Config{Events: 10 * day})
	require.EqualValues(t, 1, fixture.Number(t, pool, `SELECT count(*) FROM events`))
	require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM retention`))
	require.NoError(t, other.Rollback(t.Context()))

	var together errgroup.Group
	for range 4 {
		together.Go(func() error { return keeper(pool, retention.Config{Events: 10 * day}).Round(t.Context()) })
	}
	require.NoError(t, together.Wait())
	round(t, pool, retention.Config{Events: 10 * day})
	require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM events`))
}

func TestOldDeadLettersGoAndYoungOnesStay(t *testing.T) {
	t.Parallel()
	pool := open(t)
	fixture.Exec(t, pool, `
		INSERT INTO dead_letters (stream, stream_id, payload, stage, reason, attempts, arrived_at, created_at)
		SELECT 'events', i || '-0', '', 'decode', '', 1, now(), now() - CASE WHEN i <= 2500 THEN interval '31 days' ELSE interval '29 days' END
		FROM generate_series(1, 2600) i`)
	round(t, pool, retention.Config{})
	require.EqualValues(t, 2600, fixture.Number(t, pool, `SELECT count(*) FROM dead_letters`))

	replay, err := pool.Begin(t.Context()) // has one of them in hand
	require.NoError(t, err)
	defer replay.Rollback(context.Background())
	_, err = replay.Exec(t.Context(), `SELECT FROM dead_letters WHERE stream_id = '7-0' FOR UPDATE`)
	require.NoError(t, err)
	round(t, pool, retention.Config{DeadLetters: 30 * day})
	require.EqualValues(t, 101, fixture.Number(t, pool, `SELECT count(*) FROM dead_letters`))
	require.NoError(t, replay.Rollback(t.Context()))
	round(t, pool, retention.Config{DeadLetters: 30 * day})
	require.EqualValues(t, 100, fixture.Number(t, pool, `SELECT count(*) FROM dead_letters`))
}

func TestAKeeperThatRunsStopsAtOnce(t *testing.T) {
	t.Parallel()
	pool := open(t)
	write(t, pool, 0, 20*day)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- keeper(pool, retention.Config{Events: 10 * day}).Run(ctx) }()
	require.Eventually(t, func() bool {
		return fixture.Number(t, pool, `SELECT count(*) FROM retention WHERE keep = interval '10 days'`) == 1
	}, fixture.Patience, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-stopped)
}
