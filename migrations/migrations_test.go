package migrations_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"weir/e2e/harness"
	"weir/migrations"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func open(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func TestSchemaGoesUpAndDownAndUpAgain(t *testing.T) {
	t.Parallel()
	b := harness.NewSandbox(t)
	pool := open(t, b.PostgresURL)
	ours := func() (tables []string) {
		rows, err := pool.Query(t.Context(), `
			SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'goose_db_version' ORDER BY 1`)
		require.NoError(t, err)
		for rows.Next() {
			var name string
			require.NoError(t, rows.Scan(&name))
			tables = append(tables, name)
		}
		return tables
	}
	for range 2 {
		version, err := migrations.Up(t.Context(), b.PostgresURL)
		require.NoError(t, err)
		require.Equal(t, migrations.Latest(), version)
		require.Equal(t, []string{
			"dead_letters", "events", "rebuilds", "retention", "rollup_day", "rollup_deltas", "rollup_hour", "rollup_keys", "rollup_minute",
			"rollup_user_deltas", "rollup_user_deltas_all", "rollup_user_deltas_by", "summarized_ranges", "users_day", "users_hour", "users_minute",
		}, ours())
		require.NoError(t, migrations.Check(t.Context(), pool))

		version, err = migrations.Down(t.Context(), b.PostgresURL, 0)
		require.NoError(t, err)
		require.Zero(t, version)
		require.Empty(t, ours())
	}
}

func TestReplicasThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	b := harness.NewSandbox(t)
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			_, err := migrations.Up(context.WithoutCancel(t.Context()), b.PostgresURL)
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.NoError(t, migrations.Check(t.Context(), open(t, b.PostgresURL)))
}

// TestAMigrationHoldsNobodyUp has a reader keep a table from a migration for long: who comes
// after the migration does not wait for the reader.
func TestAMigrationHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	b := harness.NewSandbox(t)
	pool := open(t, b.PostgresURL)
	_, err := migrations.Up(t.Context(), b.PostgresURL)
	require.NoError(t, err)
	reader, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = reader.Exec(t.Context(), "LOCK rollup_user_deltas IN ACCESS SHARE MODE")
	require.NoError(t, err)
	var migrating errgroup.Group
	migrating.Go(func() error {
		_, err := migrations.Down(context.WithoutCancel(t.Context()), b.PostgresURL, 10)
		return err
	})
	require.Eventually(t, func() (waits bool) {
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock')").Scan(&waits))
		return waits
	}, time.Minute, 10*time.Millisecond, "the migration waits")
	_, err = pool.Exec(t.Context(), "SET statement_timeout = '20s'; INSERT INTO rollup_user_deltas VALUES (0, 0, 0, '')")
	require.NoError(t, err, "a writer waits for the reader")
	require.NoError(t, reader.Rollback(t.Context()))
	require.NoError(t, migrating.Wait())
}

func TestSchemaBehindIsRefusedWithAdvice(t *testing.T) {
	t.Parallel()
	b := harness.NewSandbox(t)
	pool := open(t, b.PostgresURL)
	require.ErrorContains(t, migrations.Check(t.Context(), pool), "make migrate")
	_, err := migrations.Up(t.Context(), b.PostgresURL)
	require.NoError(t, err)
	_, err = migrations.Down(t.Context(), b.PostgresURL, migrations.Latest()-1)
	require.NoError(t, err)
	require.ErrorContains(t, migrations.Check(t.Context(), pool), "make migrate")
}
