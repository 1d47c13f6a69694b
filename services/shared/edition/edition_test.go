package edition_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/edition"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func TestTheEditionIsWhatTheServerCanDo(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), harness.NewSandbox(t).PostgresURL)
	require.NoError(t, err)
	defer pool.Close()
	_, err = edition.Detect(t.Context(), pool)
	require.ErrorContains(t, err, "TimescaleDB", "the extension is not there yet")

	for _, statement := range []string{
		`CREATE EXTENSION timescaledb`,
		`CREATE TABLE h (t timestamptz NOT NULL)`,
		`SELECT create_hypertable('h', 't')`,
	} {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	pool.Reset() // what a session that begins now is told
	s, err := edition.Detect(t.Context(), pool)
	require.NoError(t, err)
	require.Regexp(t, `^\d+\.\d+`, s.TimescaleDB)
	require.Regexp(t, `^1\d\.\d+$`, s.PostgreSQL)

	_, refused := pool.Exec(t.Context(), `SELECT add_retention_policy('h', interval '1 year')`)
	if s.Edition == edition.Community {
		require.NoError(t, refused)
	} else {
		require.Equal(t, edition.Apache, s.Edition)
		require.ErrorContains(t, refused, "license")
	}
}
