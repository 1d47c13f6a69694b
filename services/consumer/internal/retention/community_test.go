package retention_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/audit"
	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/fold"
	"weir/services/consumer/internal/retention"
	"weir/services/consumer/internal/store"
	"weir/services/shared/edition"
	"weir/services/shared/pgpool"
)

func community(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	s, err := edition.Detect(t.Context(), pool)
	require.NoError(t, err)
	if s.Edition != edition.Community {
		t.Skip("compression and policies are the Community edition's; this server has the Apache edition. " +
			"WEIR_TIMESCALEDB_IMAGE names another image")
	}
}

type policy struct {
	Job                    int32
	Table, Procedure, Ages string
}

func policies(t *testing.T, pool *pgxpool.Pool) []policy {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT job_id, hypertable_name, proc_name, justify_hours(coalesce(config ->> 'drop_after', config ->> 'compress_after')::interval)::text
		FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL ORDER BY proc_name, hypertable_name`)
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[policy])
	require.NoError(t, err)
	return list
}

func TestPoliciesFollowTheSettings(t *testing.T) {
	t.Parallel()
	pool := open(t)
	community(t, pool)
	ages := func() (list []string) {
		for _, p := range policies(t, pool) {
			list = append(list, p.Table+" "+p.Procedure+" "+p.Ages)
		}
		return list
	}
	do := func(c retention.Config) { require.NoError(t, keeper(pool, c).Round(t.Context())) }

	do(retention.Config{})
	require.Empty(t, ages())

	c := retention.Config{Events: 90 * day, Minutes: 100 * day, Compress: 7 * day}
	do(c)
	require.Equal(t, []string{
		"events policy_compression 7 days", "rollup_hour policy_compression 7 days", "rollup_minute policy_compression 7 days",
		"events policy_retention 90 days", "rollup_minute policy_retention 100 days", "users_minute policy_retention 100 days",
	}, ages())
	before := policies(t, pool)
	do(c)
	require.Equal(t, before, policies(t, pool), "what is right is left alone")

	do(retention.Config{Events: 30 * day, Compress: 14 * day})
	require.Equal(t, []string{
		"events policy_compression 14 days", "rollup_hour policy_compression 14 days", "rollup_minute policy_compression 14 days",
		"events policy_retention 30 days",
	}, ages())
	do(retention.Config{})
	require.Empty(t, ages())
}

// TestCompressedChunksBehaveLikeAnyOther lets TimescaleDB decompress at most ten rows in
// one transaction, as far as nobody says otherwise: what a day of millions of rows does
// with the usual limit, a few hundred do with that.
func TestCompressedChunksBehaveLikeAnyOther(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	plain := fixture.Pool(t, box)
	community(t, plain)
	fixture.Exec(t, plain, `SELECT _timescaledb_functions.stop_background_workers()`)
	fixture.Exec(t, plain, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timescaledb.max_tuples_decompressed_per_dml_transaction = 10', current_database()); END $$`)
	plain.Reset()
	pool, err := pgpool.New(t.Context(), pgpool.Config{URL: box.PostgresURL, PoolSize: 4, ConnectTimeout: 5 * time.Second, IdleTimeout: time.Minute}, "test")
	require.NoError(t, err)
	defer pool.Close()
	s := &store.Store{Pool: pool, Timeout: 20 * time.Second}
	put := func(lo, hi int, suspect bool) store.Result {
		t.Helper()
		b := batch.New()
		b.Add(fixture.Chunk("events", 1+lo, fixture.Series(lo, hi)...))
		b.Decode(fixture.Noon)
		b.Suspect = suspect
		r, err := s.Write(t.Context(), b)
		require.NoError(t, err)
		require.Zero(t, r.Dead)
		return r
	}
	compress := func() {
		t.Helper()
		round(t, pool, retention.Config{Compress: day})
		require.EqualValues(t, 3, fixture.Number(t, pool, `SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed`))
	}

	put(0, 300, false)
	put(400, 700, false)
	foldAll(t, pool)
	compress()
	fixture.RollupsEqualRaw(t, pool)

	for _, c := range []struct {
		name          string
		lo, hi        int
		suspect       bool
		inserted, all int64
	}{
		{"late, copied", 300, 330, false, 30, 630},
		{"late, staged", 330, 360, true, 30, 660},
		{"all stored, first delivery", 0, 50, false, 0, 660},
		{"all stored, redelivered", 100, 150, true, 0, 660},
		{"half stored, first delivery", 320, 370, false, 10, 670},
		{"half stored, redelivered", 350, 400, true, 30, 700},
	} {
		r := put(c.lo, c.hi, c.suspect)
		require.EqualValues(t, c.inserted, r.Inserted, c.name)
		require.Equal(t, c.all, fixture.Number(t, pool, `SELECT count(*) FROM events`), c.name)
		fixture.RollupsEqualRaw(t, pool)
	}
	require.Positive(t, fixture.Number(t, pool, `SELECT count(*) FROM rollup_deltas`))
	_, err = fold.New(plain, time.Second, fixture.Log(), prometheus.NewRegistry()).Fold(t.Context())
	require.ErrorContains(t, err, "53400", "the limit does hold for whoever does not lift it")
	foldAll(t, pool)
	require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM rollup_deltas`))
	fixture.RollupsEqualRaw(t, pool)

	compress() // again, what was decompressed
	fixture.RollupsEqualRaw(t, pool)
	fixture.Exec(t, pool, `UPDATE rollup_minute SET events = events + 1 WHERE dimension = 1`)
	n, err := audit.Rebuild(t.Context(), pool, fixture.Day, false)
	require.NoError(t, err)
	require.Positive(t, n)
	fixture.RollupsEqualRaw(t, pool)
}
