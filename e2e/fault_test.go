package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/loadgen"
	"weir/migrations"
	"weir/services/shared/event"
)

// impatient makes a consumer take over what others left within seconds.
var impatient = []string{"FLUSH_TIMEOUT=3s", "CLAIM_MIN_IDLE=4s", "CLAIM_INTERVAL=500ms", "CONSUMER_BLOCK=50ms", "BATCH_MAX_WAIT=5ms"}

// traffic is a made-up stream whose right answers are known.
type traffic struct {
	client *redis.Client
	stream string
	oracle *loadgen.Oracle
	source *loadgen.Generator
}

// newTraffic prepares events with duplicates, late and malformed ones among them.
func newTraffic(t *testing.T, box *harness.Sandbox, seed uint64) *traffic {
	t.Helper()
	profile, err := loadgen.Builtin("web-shop")
	require.NoError(t, err)
	profile.Shape = loadgen.Constant(5000)
	profile.Faults = loadgen.Faults{Late: 0.05, Retried: 0.01, Doubled: 0.01, Malformed: 0.01}
	source, err := loadgen.New(profile, seed, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	options, err := redis.ParseURL(box.RedisURL)
	require.NoError(t, err)
	tr := &traffic{client: redis.NewClient(options), stream: box.StreamName, source: source, oracle: source.Oracle()}
	t.Cleanup(func() { tr.client.Close() })
	return tr
}

// publish adds n items, each of them acknowledged by Redis. Errors are waited out,
// as a producer that retries would: what was added twice has the same id.
func (tr *traffic) publish(t *testing.T, n int) {
	t.Helper()
	for n > 0 {
		size := min(n, 200)
		payloads := make([]string, size)
		for i := range payloads {
			item, _ := tr.source.Next(nil)
			payloads[i] = string(item.Payload)
		}
		require.Eventually(t, func() bool {
			_, err := tr.client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
				for _, payload := range payloads {
					p.XAdd(t.Context(), &redis.XAddArgs{Stream: tr.stream, Values: []any{event.Field, payload}})
				}
				return nil
			})
			return err == nil
		}, patience, 50*time.Millisecond)
		n -= size
	}
}

// check asserts the invariants once everything has been consumed: no loss, no
// duplicate, rollups equal raw, nothing pending.
func (tr *traffic) check(t *testing.T, box *harness.Sandbox, exactDeadLetters bool) {
	t.Helper()
	drained(t, box)
	pool := open(t, box)
	want := tr.oracle.Counts()
	require.Equal(t, want.Stored(), number(t, pool, `SELECT count(*) FROM events`), "stored")
	require.Equal(t, want.Stored(), number(t, pool, `SELECT count(*) FROM (SELECT DISTINCT id, time FROM events) e`), "stored once")
	dead := number(t, pool, `SELECT count(DISTINCT payload) FROM dead_letters`)
	if exactDeadLetters {
		dead = number(t, pool, `SELECT count(*) FROM dead_letters`)
	}
	require.Equal(t, want.Malformed, dead, "dead letters")
	rollupsEqualRaw(t, pool)
	var value, total int64
	value = number(t, pool, `SELECT (coalesce(sum(value), 0) * 1000000)::bigint FROM events`)
	total = tr.oracle.Total().Sum
	require.Equal(t, total, value, "the sum of value")
}

// seed returns the run's seed, printed so that a failure can be repeated with
// WEIR_SEED.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if given := os.Getenv("WEIR_SEED"); given != "" {
		var err error
		s, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("WEIR_SEED=%d", s)
	return s
}

func TestConsumersKilledAtRandomLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)
	s := seed(t)
	random := rand.New(rand.NewPCG(s, 1))
	tr := newTraffic(t, box, s)

	const rounds, size = 12, 3000
	boot := func(i int) *harness.Program {
		return run(t, box, "weir-consumer", append([]string{"CONSUMER_NAME=killed-" + strconv.Itoa(i), "BATCH_MAX_EVENTS=" + strconv.Itoa(100+random.IntN(1500))}, impatient...)...)
	}
	consumers := []*harness.Program{boot(0), boot(1)}
	for range rounds {
		before := number(t, pool, `SELECT count(*) FROM events`)
		tr.publish(t, size)
		// Somewhere in the middle of the work, wherever that is in the flush.
		enough := before + int64(1+random.IntN(size/2))
		require.Eventually(t, func() bool { return number(t, pool, `SELECT count(*) FROM events`) >= enough }, patience, time.Millisecond)
		victim := random.IntN(len(consumers))
		consumers[victim].Kill()
		consumers[victim] = boot(victim)
	}
	// One of them does not come back: the other finishes its entries.
	tr.publish(t, size)
	consumers[0].Kill()
	tr.check(t, box, true)
}

func TestServersStoppedAndKilledLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	servers := harness.Private(t)
	box, err := servers.Sandbox(ctx, "outage")
	require.NoError(t, err)
	_, err = migrations.Up(ctx, box.PostgresURL)
	require.NoError(t, err)
	tr := newTraffic(t, box, seed(t))
	run(t, box, "weir-consumer", append([]string{"BATCH_MAX_EVENTS=500"}, impatient...)...)

	for name, outage := range map[string]struct{ down, up func(context.Context) error }{
		"PostgreSQL stopped": {servers.StopPostgres, servers.StartPostgres},
		"PostgreSQL killed":  {servers.KillPostgres, servers.StartPostgres},
		"Redis stopped":      {servers.StopRedis, servers.StartRedis},
	} {
		t.Log(name)
		tr.publish(t, 4000) // the outage comes while these are written
		require.NoError(t, outage.down(ctx), name)
		if name != "Redis stopped" {
			tr.publish(t, 2000) // the backlog waits in the stream
		}
		require.NoError(t, outage.up(ctx), name)
		tr.publish(t, 1000)
	}
	tr.check(t, box, true)
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
	tr := newTraffic(t, box, seed(t))
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
	tr := newTraffic(t, box, seed(t))
	run(t, box, "weir-consumer", impatient...)
	tr.publish(t, 500)
	drained(t, box)
	require.NoError(t, tr.client.Del(t.Context(), box.StreamName).Err()) // stream and group are gone
	tr.publish(t, 500)
	reach(t, pool, tr.oracle.Counts().Stored(), `SELECT count(*) FROM events`)
	tr.check(t, box, true)
}
