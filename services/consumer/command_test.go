package consumer

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/store"
	"weir/services/shared/config"
	"weir/services/shared/pgpool"
)

// command runs a subcommand as main does, after the configuration was read.
func command(t *testing.T, url, name string, args ...string) (string, error) {
	t.Helper()
	for _, s := range Commands() {
		if s.Name == name {
			var out bytes.Buffer
			err := s.Run(t.Context(), Config{Postgres: pgpool.Config{URL: url, PoolSize: 2}}, args, &out)
			return out.String(), err
		}
	}
	t.Fatal("no such command")
	return "", nil
}

func TestVerifyPrintsDifferencesAndFailsAndRebuildMendsThem(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	pool := fixture.Pool(t, box)
	b := batch.New()
	b.Add(fixture.Chunk("events", 1, fixture.Series(0, 60)...))
	b.Decode(fixture.Noon)
	_, err := (&store.Store{Pool: pool, Timeout: 20 * time.Second}).Write(t.Context(), b)
	require.NoError(t, err)
	span := []string{"--from", "2026-03-14", "--to", "2026-03-15T00:00:00Z"}

	out, err := command(t, box.PostgresURL, "verify", span...)
	require.NoError(t, err)
	require.Contains(t, out, "equal")

	fixture.Exec(t, pool, `UPDATE rollup_deltas SET events = 21 WHERE key_id = (SELECT id FROM rollup_keys WHERE dimension = 0 AND type = 'click')`)
	out, err = command(t, box.PostgresURL, "verify", span...)
	require.ErrorIs(t, err, ErrRollupsDiffer)
	require.ErrorContains(t, err, "3 buckets")
	require.Regexp(t, `minute +2026-03-14T12:00:00Z +all +click +"" +20 events, value 0 +21 events, value 0\n`, out)

	out, err = command(t, box.PostgresURL, "rebuild", span...)
	require.NoError(t, err)
	require.Contains(t, out, "3 buckets corrected")
	_, err = command(t, box.PostgresURL, "verify", span...)
	require.NoError(t, err)
}

func TestVerifySaysWhatCannotBeComparedAnyMore(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	pool := fixture.Pool(t, box)
	b := batch.New()
	b.Add(fixture.Chunk("events", 1, fixture.Series(0, 60)...))
	b.Decode(fixture.Noon)
	_, err := (&store.Store{Pool: pool, Timeout: 20 * time.Second}).Write(t.Context(), b)
	require.NoError(t, err)
	fixture.Exec(t, pool, `DELETE FROM events WHERE type = 'click'`)
	fixture.Exec(t, pool, `INSERT INTO retention (relation, dropped_before) VALUES ('events', '2026-03-14 12:30Z')`)

	out, err := command(t, box.PostgresURL, "verify", "--from", "2026-03-14", "--to", "2026-03-15")
	require.NoError(t, err)
	require.Contains(t, out, "Compared from 2026-03-14T13:00:00Z on")
	_, err = command(t, box.PostgresURL, "verify", "--from", "2026-03-14", "--to", "2026-03-14T13:00:00Z")
	require.ErrorContains(t, err, "retention has dropped the events of the whole span")
	_, err = command(t, box.PostgresURL, "rebuild", "--from", "2026-03-14", "--to", "2026-03-15")
	require.ErrorContains(t, err, "--erase does it all the same")
}

func TestWrongArgumentsAreMisuseNotFailure(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		nil, {"--from", "yesterday", "--to", "2026-03-15"}, {"--from", "2026-03-15"}, {"--what"},
		{"--from", "2026-03-15", "--to", "2026-03-15"}, {"--from", "2026-03-14", "--to", "2026-03-15T00:30:00Z"},
		{"--from", "2026-03-14", "--to", "2026-03-15", "more"},
	} {
		for _, name := range []string{"verify", "rebuild"} {
			_, err := command(t, "postgres://nobody@127.0.0.1:1/none", name, args...)
			require.True(t, config.IsFaults(err), "%s %v: %v", name, args, err)
		}
	}
}
