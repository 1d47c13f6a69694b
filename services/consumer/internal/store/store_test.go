package store_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/store"
)

func TestAFreshBatchIsStoredByPlainCopyAndCounted(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	r, err := s.Write(t.Context(), series(0, 500))
	require.NoError(t, err)
	require.Equal(t, 500, r.Inserted)
	require.False(t, r.Careful)
	require.NotZero(t, r.XID)
	require.EqualValues(t, 500, count(t, pool, "events"))
	require.EqualValues(t, 500, fixture.Number(t, pool, `SELECT sum(events) FROM minutes WHERE dimension = 0`))
	fixture.RollupsEqualRaw(t, pool)
}

func TestWhatIsStoredAlreadyIsNeitherStoredNorCountedAgain(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	_, err := s.Write(t.Context(), series(0, 100))
	require.NoError(t, err)
	for _, c := range []struct {
		name            string
		lo, hi          int
		suspect         bool
		inserted, total int
	}{
		{"all of it, first delivery", 0, 100, false, 0, 100},
		{"all of it, redelivered", 0, 100, true, 0, 100},
		{"part of it, first delivery", 50, 150, false, 50, 150},
		{"part of it, redelivered", 100, 200, true, 50, 200},
	} {
		b := series(c.lo, c.hi)
		b.Suspect = c.suspect
		r, err := s.Write(t.Context(), b)
		require.NoError(t, err, c.name)
		require.Equal(t, c.inserted, r.Inserted, c.name)
		require.True(t, r.Careful, c.name)
		require.EqualValues(t, c.total, count(t, pool, "events"), c.name)
		fixture.RollupsEqualRaw(t, pool)
	}
}

func TestDuplicatesWithinABatchAreStoredOnceAndTheFirstWins(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	payloads := fixture.Series(0, 50)
	again := fixture.Event(7)
	again.Path, again.Value, again.HasValue = "/another", 5_000_000, true
	payloads = append(payloads, append(fixture.Series(0, 50), fixture.Payload(again))...)
	r, err := s.Write(t.Context(), decoded(fixture.Chunk(key, 1, payloads...)))
	require.NoError(t, err)
	require.Equal(t, 50, r.Inserted)
	require.EqualValues(t, 50, count(t, pool, "events"))
	require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM events WHERE path = '/another'`))
	fixture.RollupsEqualRaw(t, pool)
}

func TestWritersWithOverlappingBatchesInAnyOrderStoreEachEventOnce(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	const events, writers, rounds = 400, 4, 6
	random := rand.New(rand.NewPCG(3, 4))
	var inserted [writers]int
	var g errgroup.Group
	for w := range writers {
		orders := make([][]int, rounds)
		for i := range orders {
			orders[i] = random.Perm(events)[:events/2]
		}
		g.Go(func() error {
			for _, order := range orders {
				payloads := make([]string, 0, len(order))
				for _, i := range order {
					payloads = append(payloads, fixture.Payload(fixture.Event(i)))
				}
				b := decoded(fixture.Chunk(key, 1, payloads...))
				for {
					r, err := s.Write(t.Context(), b)
					if err == nil {
						inserted[w] += r.Inserted
						break
					}
					if store.Classify(err) != store.Outage || t.Context().Err() != nil {
						return err // a deadlock is an outage: the batch is tried again
					}
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	total := 0
	for _, n := range inserted {
		total += n
	}
	require.EqualValues(t, total, count(t, pool, "events"), "each was new to exactly one writer")
	fixture.RollupsEqualRaw(t, pool)
}

func TestABatchIsWrittenWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	fixture.Exec(t, pool, `ALTER TABLE rollup_deltas ADD CONSTRAINT broken CHECK (events < 0) NOT VALID`)
	for _, suspect := range []bool{false, true} {
		b := decoded(fixture.Chunk(key, 1, slices.Concat(fixture.Series(0, 10), []string{"{"})...))
		b.Suspect = suspect
		_, err := s.Write(t.Context(), b)
		require.Error(t, err)
		require.Zero(t, count(t, pool, "events"))
		require.Zero(t, count(t, pool, "dead_letters"))
	}
	fixture.Exec(t, pool, `ALTER TABLE rollup_deltas DROP CONSTRAINT broken`)
	b := series(0, 10)
	b.Suspect = true
	_, err := s.Write(t.Context(), b)
	require.NoError(t, err)
	fixture.RollupsEqualRaw(t, pool)
}

func TestOneConnectionIsEnoughToWrite(t *testing.T) {
	t.Parallel()
	_, pool := open(t)
	cfg := pool.Config()
	cfg.MaxConns = 1
	one, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer one.Close()
	s := store.Store{Pool: one, Timeout: 3 * time.Second}
	_, err = s.Write(t.Context(), series(0, 10))
	require.NoError(t, err)
	_, err = s.Write(t.Context(), series(5, 30))
	require.NoError(t, err)
	fixture.RollupsEqualRaw(t, pool)
}

func TestABatchThatNeedsMoreTimeThanTheTimeoutIsNotTriedForEver(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	s.Timeout = 250 * time.Millisecond
	fixture.Exec(t, pool, `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END'`)
	fixture.Exec(t, pool, `CREATE TRIGGER slow BEFORE INSERT ON rollup_deltas FOR EACH STATEMENT EXECUTE FUNCTION slow()`)
	b := series(0, 10)
	for attempt := 1; ; attempt++ {
		r, err := s.Write(t.Context(), b)
		if err == nil {
			require.Equal(t, 10, r.Inserted)
			require.Greater(t, attempt, 2, "two timeouts are no reason yet")
			break
		}
		require.Equal(t, store.Outage, store.Classify(err))
		require.Less(t, attempt, 7, err)
	}
	b.Reset()
	require.Zero(t, b.Timeouts, "the next batch has not been slow")
	fixture.RollupsEqualRaw(t, pool)
}

// TestTheFinestNumbersAreStored: one decimal place more, and PostgreSQL would refuse the row.
func TestTheFinestNumbersAreStored(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	decimal := func(places int) string { return "0." + strings.Repeat("0", places-301) + "1e-300" }
	e := fixture.Event(0)
	e.Properties = `{"x":` + decimal(16_383) + `}`
	b := decoded(fixture.Chunk(key, 1, fixture.Payload(e)))
	require.Empty(t, b.Dead)
	r, err := s.Write(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, 1, r.Inserted)
	require.EqualValues(t, 16_383, fixture.Number(t, pool, `SELECT scale((properties->>'x')::numeric)::bigint FROM events`))

	_, err = pool.Exec(t.Context(), `SELECT $1::text::jsonb`, decimal(16_384))
	require.ErrorContains(t, err, "22003")
}
