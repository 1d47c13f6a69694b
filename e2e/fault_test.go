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
	"weir/services/shared/event"
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
			s := seed(t)
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

// TestPoisonNeverHoldsUpGoodEvents puts every kind of entry on the stream that
// anybody with XADD could.
func TestPoisonNeverHoldsUpGoodEvents(t *testing.T) {
	t.Parallel()
	w := start(t)
	options, err := redis.ParseURL(w.box.RedisURL)
	require.NoError(t, err)
	client := redis.NewClient(options)
	defer client.Close()
	at := time.Now().UTC().Format(time.RFC3339Nano)
	good := func(i int) string {
		return fmt.Sprintf(`{"id":"0193a5b0-7c1e-7e4f-9d2a-%012d","type":"click","time":%q,"source":"s","user_id":"u"}`, i, at)
	}
	poison := []string{
		"", "{", "[]", "null", "\xff\xfe", `{"id":"x"}`,
		`{"id":"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f","type":"click","time":"` + at + `","source":"s","user_id":"\u0000"}`,
		`{"id":"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f","type":"click","time":"` + at + `","source":"s","user_id":"u","value":1e400}`,
		`{"id":"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f","type":"click","time":"` + at + `","source":"s","user_id":"u","properties":{"n":1e99999}}`,
		`{"id":"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f","type":"click","time":"0000-01-01T00:00:00Z","source":"s","user_id":"u"}`,
		`{"id":"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f","type":"click","time":"9999-01-01T00:00:00Z","source":"s","user_id":"u"}`,
		`{"id":"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f","type":"click","time":"` + at + `","source":"s","user_id":"u","properties":{"a":"\ud800"}}`,
	}
	for i, payload := range poison {
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: w.box.StreamName, Values: []any{event.Field, payload}}).Err())
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: w.box.StreamName, Values: []any{event.Field, good(i)}}).Err())
	}
	require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: w.box.StreamName, Values: []any{"other", "field"}}).Err())
	reach(t, w.pool, int64(len(poison)), `SELECT count(*) FROM events`)
	reach(t, w.pool, int64(len(poison)+1), `SELECT count(*) FROM dead_letters WHERE reason <> '' AND stage IN ('decode', 'validate')`)
	rollupsEqualRaw(t, w.pool)
}

func TestASlowSecondGroupLosesNothingToTrimming(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)
	tr := newTraffic(t, box, seed(t), untidy)
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
	tr := newTraffic(t, box, seed(t), untidy)
	run(t, box, "weir-consumer", impatient...)
	tr.publish(t, 500)
	drained(t, box)
	require.NoError(t, tr.client.Del(t.Context(), box.StreamName).Err()) // stream and group are gone
	tr.publish(t, 500)
	reach(t, pool, tr.oracle.Counts().Stored(), `SELECT count(*) FROM events`)
	tr.check(t, box)
}
