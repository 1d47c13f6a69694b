package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

// impatient makes a consumer take over what others left within seconds.
var impatient = []string{"FLUSH_TIMEOUT=3s", "CLAIM_MIN_IDLE=4s", "CLAIM_INTERVAL=500ms", "CONSUMER_BLOCK=50ms", "BATCH_MAX_WAIT=5ms"}

func TestConsumersKilledAtRandomLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ consumers, rounds int }{{2, 12}, {4, 8}} {
		t.Run(fmt.Sprintf("%d racing", c.consumers), func(t *testing.T) {
			t.Parallel()
			box := sandbox(t)
			pool := open(t, box)
			s := harness.Seed(t)
			random := rand.New(rand.NewPCG(s, 1))
			tr := newTraffic(t, box, s, untidy)

			const size = 3000
			boot := func(i int) *harness.Program {
				return run(t, box, "weir-consumer", append(impatient,
					"CONSUMER_NAME=killed-"+strconv.Itoa(i), "BATCH_MAX_EVENTS="+strconv.Itoa(100+random.IntN(1500)))...)
			}
			var consumers []*harness.Program
			for i := range c.consumers {
				consumers = append(consumers, boot(i))
			}
			for range c.rounds {
				before := number(t, pool, `SELECT count(*) FROM events`)
				tr.publish(t, size)
				// Somewhere in the middle of the work, wherever that is in the flush.
				enough := before + int64(1+random.IntN(size/2))
				require.Eventually(t, func() bool { return number(t, pool, `SELECT count(*) FROM events`) >= enough }, patience, time.Millisecond)
				victim := random.IntN(len(consumers))
				consumers[victim].Kill()
				consumers[victim] = boot(victim)
			}
			// Only one is left: it finishes the others' entries.
			tr.publish(t, size)
			for _, c := range consumers[1:] {
				c.Kill()
			}
			tr.check(t, box)
		})
	}
}

func TestASlowSecondGroupLosesNothingToTrimming(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)
	tr := newTraffic(t, box, harness.Seed(t), untidy)
	require.NoError(t, tr.client.XGroupCreateMkStream(t.Context(), box.StreamName, "slow", "0").Err())
	run(t, box, "weir-consumer", append([]string{"TRIM_INTERVAL=50ms"}, impatient...)...)
	const n = 5000
	tr.publish(t, n)
	reach(t, pool, tr.oracle.Counts().Stored(), `SELECT count(*) FROM events`)

	read := 0
	for read < n {
		streams, err := tr.client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "slow", Consumer: "c", Streams: []string{box.StreamName, ">"}, Count: 500, Block: time.Second}).Result()
		require.NoError(t, err, "read %d of %d", read, n)
		var ids []string
		for _, m := range streams[0].Messages {
			ids = append(ids, m.ID)
		}
		read += len(ids)
		require.NoError(t, tr.client.XAck(t.Context(), box.StreamName, "slow", ids...).Err())
	}
	// Now nobody needs them, and Redis gets its memory back, but for a node's worth.
	require.Eventually(t, func() bool {
		length, err := tr.client.XLen(t.Context(), box.StreamName).Result()
		return err == nil && length <= 1000
	}, patience, 20*time.Millisecond)
}

func TestFlushedRedisIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)
	tr := newTraffic(t, box, harness.Seed(t), untidy)
	run(t, box, "weir-consumer", impatient...)
	tr.publish(t, 500)
	drained(t, box)
	require.NoError(t, tr.client.Del(t.Context(), box.StreamName).Err()) // stream and group are gone
	tr.publish(t, 500)
	reach(t, pool, tr.oracle.Counts().Stored(), `SELECT count(*) FROM events`)
	tr.check(t, box)
}
