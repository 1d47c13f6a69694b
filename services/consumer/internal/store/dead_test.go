package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/store"
)

func TestRowsThatOnlyPostgresRefusesAreFoundAndTheRestIsStored(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	fixture.Exec(t, pool, `ALTER TABLE events ADD CONSTRAINT no_bad CHECK (path <> '/bad')`)
	bad := []int{0, 17, 18, 100, 199} // first, last, neighbours
	var payloads, refused []string
	for i := range 200 {
		e := fixture.Event(i)
		if slices.Contains(bad, i) {
			e.Path = "/bad"
			refused = append(refused, fmt.Sprintf("%d-0", 1+i))
		}
		payloads = append(payloads, fixture.Payload(e))
	}
	for attempt := 1; attempt <= 2; attempt++ { // the second is a redelivery
		r, err := s.Write(t.Context(), decoded(fixture.Chunk(key, 1, payloads...)))
		require.NoError(t, err)
		require.Equal(t, len(bad), r.Dead)
		require.EqualValues(t, 195, count(t, pool, "events"))
		var ids []string
		var attempts []int32
		require.NoError(t, pool.QueryRow(t.Context(), `
			SELECT array_agg(stream_id ORDER BY id), array_agg(DISTINCT attempts)
			FROM dead_letters WHERE stage = 'store' AND reason LIKE '%no_bad%' AND stream = $1`, key).Scan(&ids, &attempts))
		require.Equal(t, refused, ids)
		require.Equal(t, []int32{int32(attempt)}, attempts)
		fixture.RollupsEqualRaw(t, pool)
	}
	require.EqualValues(t, 1, fixture.Number(t, pool, `SELECT count(*) FROM dead_letters WHERE payload = convert_to($1, 'UTF8')`, payloads[17]))
}

func TestWhenMostAreRefusedNothingIsDeadLettered(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	fixture.Exec(t, pool, `ALTER TABLE events ADD CONSTRAINT bad_release CHECK (path = '/p/1')`)
	_, err := s.Write(t.Context(), series(0, 100))
	require.ErrorIs(t, err, store.ErrMostRefused)
	require.ErrorContains(t, err, "bad_release")
	require.Equal(t, store.Outage, store.Classify(err), "the batch waits")
	require.Zero(t, count(t, pool, "events")+count(t, pool, "dead_letters")+count(t, pool, "rollup_deltas"))

	// A person looks and repairs.
	fixture.Exec(t, pool, `ALTER TABLE events DROP CONSTRAINT bad_release`)
	_, err = s.Write(t.Context(), series(0, 100))
	require.NoError(t, err)
	fixture.RollupsEqualRaw(t, pool)
}

func TestAFewBadEventsAloneAreDeadLetteredNotTakenForAnOutage(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	fixture.Exec(t, pool, `ALTER TABLE events ADD CONSTRAINT none CHECK (path = '')`)
	r, err := s.Write(t.Context(), series(0, 3))
	require.NoError(t, err)
	require.Equal(t, 3, r.Dead)
	require.Zero(t, r.Inserted)
}

// What a stranger sends must never make the dead letter itself unstorable.
func TestNoEntryIsTooStrangeToBeADeadLetter(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	c := fixture.Chunk(key, 1, `{"a\u0000b":1}`, "{\"\xff\":1}", "\x00", "", `{"\ud800":1}`, "{", fixture.Payload(fixture.Event(0)), "{")
	c.Entries[5].ID = "18446744073709551615-18446744073709551615"
	c.Entries[7].ID = "9223372036854775807-0"
	r, err := s.Write(t.Context(), decoded(c))
	require.NoError(t, err)
	require.Equal(t, 1, r.Inserted)
	require.Equal(t, 7, r.Dead)
	require.EqualValues(t, 7, count(t, pool, "dead_letters"))
	var arrived time.Time
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT max(arrived_at) FROM dead_letters`).Scan(&arrived))
	require.Equal(t, 9999, arrived.UTC().Year())
}

func TestARedeliveredDeadLetterStaysOne(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	for attempt := range 3 {
		b := decoded(fixture.Chunk(key, 1, "{", fixture.Payload(fixture.Event(0)), "[]"))
		b.Suspect = attempt > 0
		_, err := s.Write(t.Context(), b)
		require.NoError(t, err)
	}
	require.EqualValues(t, 2, count(t, pool, "dead_letters"))
	require.EqualValues(t, 2, fixture.Number(t, pool, `SELECT count(*) FROM dead_letters WHERE attempts = 3`))
	require.EqualValues(t, 1, count(t, pool, "events"))
}

// Redis may lose what it knew of a group, and deliver anew what is stored already.
func TestADeadLetterThatIsDeliveredAsIfForTheFirstTimeStaysOne(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	for attempt := 1; attempt <= 2; attempt++ {
		r, err := s.Write(t.Context(), decoded(fixture.Chunk(key, 1, "{", "\x00", "")))
		require.NoError(t, err)
		require.Equal(t, 3, r.Dead)
		require.Equal(t, attempt > 1, r.Careful)
		require.EqualValues(t, 3, fixture.Number(t, pool, `SELECT count(*) FROM dead_letters WHERE attempts = $1`, attempt))
	}
	require.EqualValues(t, 3, count(t, pool, "dead_letters"))
}

// After a long outage a consumer takes over what it holds itself.
func TestAnEntryThatIsTwiceInABatchIsOneDeadLetter(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	fixture.Exec(t, pool, `ALTER TABLE events ADD CONSTRAINT no_bad CHECK (path <> '/bad')`)
	bad := fixture.Event(1)
	bad.Path = "/bad"
	chunk := fixture.Chunk(key, 1, "{", fixture.Payload(fixture.Event(0)), "[]", fixture.Payload(bad))
	again := chunk
	again.Redelivered = true
	_, err := s.Write(t.Context(), decoded(chunk, again))
	require.NoError(t, err)
	require.EqualValues(t, 3, count(t, pool, "dead_letters"))
	require.EqualValues(t, 1, count(t, pool, "events"))
	fixture.RollupsEqualRaw(t, pool)
}
