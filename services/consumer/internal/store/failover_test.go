package store_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/step"
	"weir/services/consumer/internal/store"
)

// lose empties the database, as a failover does to a replica that had nothing yet.
func lose(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	fixture.Exec(t, pool, `TRUNCATE events, rollup_keys, rollup_deltas, rollup_user_deltas RESTART IDENTITY`)
}

// What was stored when the batch was first tried is gone at the second attempt, with keys
// that none of the other events has.
func TestWhatAFailoverLostBetweenTwoAttemptsIsStoredAndCounted(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	payloads := fixture.Series(0, 20)
	e := fixture.Event(20)
	e.Path = "/of/this/one"
	payloads = append(payloads, fixture.Payload(e))
	_, err := s.Write(t.Context(), decoded(fixture.Chunk(key, 21, payloads[20])))
	require.NoError(t, err)

	fixture.Exec(t, pool, `ALTER TABLE rollup_deltas ADD CONSTRAINT broken CHECK (events < 0) NOT VALID`)
	b := decoded(fixture.Chunk(key, 1, payloads...))
	_, err = s.Write(t.Context(), b)
	require.ErrorContains(t, err, "broken")
	fixture.Exec(t, pool, `ALTER TABLE rollup_deltas DROP CONSTRAINT broken`)
	lose(t, pool)

	r, err := s.Write(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, 21, r.Inserted)
	fixture.RollupsEqualRaw(t, pool)
}

// A writer that had nothing to write meanwhile met no error.
func TestAnIdleWriterNoticesAFailover(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	b := series(0, 20)
	_, err := s.Write(t.Context(), b)
	require.NoError(t, err)
	lose(t, pool)
	_, err = s.Write(t.Context(), decoded(fixture.Chunk(key, 21, fixture.Series(25, 26)...))) // another one's keys
	require.NoError(t, err)
	pool.Reset() // its connections broke

	b.Reset()
	b.Add(fixture.Chunk(key, 1, fixture.Series(0, 20)...))
	b.Decode(fixture.Noon)
	r, err := s.Write(t.Context(), b)
	require.NoError(t, err)
	require.False(t, r.Careful)
	fixture.RollupsEqualRaw(t, pool)
}

func TestNothingIsCountedUnderAKeyWithoutANumber(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	b := series(0, 10)
	b.Suspect = true
	careless := store.Store{Pool: pool, Timeout: s.Timeout, Step: func(at step.Step) {
		if at == step.Resolved {
			b.Deltas.Forget()
		}
	}}
	_, err := careless.Write(t.Context(), b)
	require.ErrorContains(t, err, "have no number")
	require.Zero(t, count(t, pool, "events")+count(t, pool, "rollup_deltas"))
	_, err = s.Write(t.Context(), b)
	require.NoError(t, err)
	fixture.RollupsEqualRaw(t, pool)
}
