package consumer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
)

func TestARunningConsumerLooksAfterTheTables(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	pool, client := fixture.Pool(t, box), fixture.Redis(t, box)
	old, young := fixture.Event(1), fixture.Event(2)
	old.Time, young.Time = time.Now().Add(-20*24*time.Hour).UTC(), time.Now().UTC()
	fixture.Add(t, client, box.StreamName, fixture.Payload(old), fixture.Payload(young))
	first := start(t, box, nil)
	settled := func() bool {
		return fixture.Number(t, pool, `SELECT count(*) FROM events`) == 2 && pendingIn(t, client, box) == 0
	}
	eventually(t, "both are stored", settled)
	require.True(t, slices.ContainsFunc(first.log.all(), func(line string) bool {
		return strings.Contains(line, "edition=") && strings.Contains(line, "timescaledb=")
	}), "the log tells the edition")
	eventually(t, "tomorrow's chunks are there", func() bool {
		return fixture.Number(t, pool, `
			SELECT count(*) FROM timescaledb_information.chunks
			WHERE range_start <= now() + interval '1 day' AND range_end > now() + interval '1 day'`) == 7
	})
	first.stop()

	// On Community, TimescaleDB's scheduler does it.
	start(t, box, func(c *Config) { c.Retention.Events, c.Retention.Every = 10*24*time.Hour, time.Second })
	eventually(t, "the old one is dropped", func() bool { return fixture.Number(t, pool, `SELECT count(*) FROM events`) == 1 })
	require.EqualValues(t, 2, fixture.Number(t, pool, `SELECT sum(events) FROM days WHERE dimension = 0`), "and still counted")
}
