package consumer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
)

func TestACleanStopAcknowledgesWhatItReadAndLeavesNothingPending(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	pool, client := fixture.Pool(t, box), fixture.Redis(t, box)
	const n = 9000
	ids := fixture.Add(t, client, box.StreamName, fixture.Series(0, n)...)
	for stops := 1; ; stops++ {
		before := fixture.Number(t, pool, `SELECT count(*) FROM events`)
		if before == n {
			require.Greater(t, stops, 2, "it was stopped in the middle")
			break
		}
		r := start(t, box, nil)
		eventually(t, "it writes", func() bool { return fixture.Number(t, pool, `SELECT count(*) FROM events`) > before })
		r.stop()
		require.Zero(t, pendingIn(t, client, box))
		groups, err := client.XInfoGroups(t.Context(), box.StreamName).Result()
		require.NoError(t, err)
		stored := fixture.Number(t, pool, `SELECT count(*) FROM events`)
		require.Equal(t, ids[stored-1], groups[0].LastDeliveredID, "what was read is what is stored")
		fixture.RollupsEqualRaw(t, pool)
	}
}

// A consumer that is given no time leaves entries pending; its next run and the
// other consumer finish them.
func TestConsumersCutOffWithoutGraceLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	pool, client := fixture.Pool(t, box), fixture.Redis(t, box)
	const rounds, size = 8, 1500
	start(t, box, func(c *Config) { c.Pipeline.Name = "steady" })
	for i := range rounds {
		before := fixture.Number(t, pool, `SELECT count(*) FROM events`)
		cut := start(t, box, func(c *Config) { c.Pipeline.Name, c.ShutdownGrace = "cut", 0 })
		fixture.Add(t, client, box.StreamName, fixture.Series(i*size, (i+1)*size)...)
		eventually(t, "in the middle of it", func() bool { return fixture.Number(t, pool, `SELECT count(*) FROM events`) > before })
		cut.stop()
	}
	settled(t, box, rounds*size)
}

func TestAPausedPostgresAtTheStopLeavesTheEntriesPending(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	pool, client := fixture.Pool(t, box), fixture.Redis(t, box)
	lock, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), `LOCK TABLE events`) // every COPY waits
	require.NoError(t, err)
	r := start(t, box, func(c *Config) { c.ShutdownGrace = 200 * time.Millisecond })
	fixture.Add(t, client, box.StreamName, fixture.Series(0, 1000)...)
	eventually(t, "it reads", func() bool { return pendingIn(t, client, box) > 0 })
	r.stop()
	require.Positive(t, pendingIn(t, client, box))
	require.NoError(t, lock.Rollback(t.Context()))
	require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM events`))

	start(t, box, nil)
	settled(t, box, 1000)
}
