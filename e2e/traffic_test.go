package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/loadgen"
	"weir/services/shared/event"
)

// traffic is a made-up stream whose right answers are known.
type traffic struct {
	client redis.UniversalClient
	stream string
	oracle *loadgen.Oracle
	source *loadgen.Generator

	repeated bool              // some were added again, because Redis did not answer
	sent     map[string]string // what is to be stored, by id, where there is a map for it
}

// untidy is traffic with duplicates, late and malformed events among the good.
var untidy = loadgen.Faults{Late: 0.05, Retried: 0.01, Doubled: 0.01, Malformed: 0.01}

func newTraffic(t *testing.T, box *harness.Sandbox, seed uint64, faults loadgen.Faults) *traffic {
	t.Helper()
	profile, err := loadgen.Builtin("web-shop")
	require.NoError(t, err)
	profile.Shape = loadgen.Constant(5000)
	profile.Faults = faults
	return trafficOf(t, box, profile, seed, time.Now().Add(-time.Hour))
}

func trafficOf(t *testing.T, box *harness.Sandbox, profile loadgen.Profile, seed uint64, start time.Time) *traffic {
	t.Helper()
	source, err := loadgen.New(profile, seed, start)
	require.NoError(t, err)
	// go-redis would try again by itself, add what Redis had taken already a second time,
	// and not tell.
	options, err := redis.ParseURL(box.RedisURL)
	require.NoError(t, err)
	options.MaxRetries = -1
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return &traffic{client: client, stream: box.StreamName, source: source, oracle: source.Oracle()}
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
			if tr.sent != nil && (item.Kind == loadgen.Fresh || item.Kind == loadgen.Late) {
				tr.sent[item.ID.String()] = payloads[i]
			}
		}
		require.Eventually(t, func() bool {
			err := tr.add(t.Context(), payloads)
			tr.repeated = tr.repeated || err != nil
			return err == nil
		}, patience, 50*time.Millisecond)
		n -= size
	}
}

func (tr *traffic) add(ctx context.Context, payloads []string) error {
	_, err := tr.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, payload := range payloads {
			p.XAdd(ctx, &redis.XAddArgs{Stream: tr.stream, Values: []any{event.Field, payload}})
		}
		return nil
	})
	return err
}

// hoard has a consumer that does nothing more read all that is there: entries to be
// taken over.
func (tr *traffic) hoard(t *testing.T) {
	t.Helper()
	for {
		read, err := tr.client.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: "weir", Consumer: "hoarder", Streams: []string{tr.stream, ">"}, Count: 1000, Block: -1,
		}).Result()
		if errors.Is(err, redis.Nil) {
			return
		}
		require.NoError(t, err)
		require.NotEmpty(t, read)
	}
}

// check asserts the invariants once everything has been consumed: no loss, no
// duplicate, rollups equal raw, nothing pending.
func (tr *traffic) check(t *testing.T, box *harness.Sandbox) {
	t.Helper()
	drained(t, box)
	pool := open(t, box)
	want := tr.oracle.Counts()
	require.Equal(t, want.Stored(), number(t, pool, `SELECT count(*) FROM events`), "stored")
	require.Equal(t, want.Stored(), number(t, pool, `SELECT count(*) FROM (SELECT DISTINCT id, time FROM events) e`), "stored once")
	require.Equal(t, want.Malformed, number(t, pool, `SELECT count(DISTINCT payload) FROM dead_letters`), "dead letters")
	if !tr.repeated { // a letter is an entry's
		require.Equal(t, want.Malformed, number(t, pool, `SELECT count(*) FROM dead_letters`), "dead letters, one each")
	}
	rollupsEqualRaw(t, pool)
	require.Equal(t, tr.oracle.Total().Sum, number(t, pool, `SELECT (coalesce(sum(value), 0) * 1000000)::bigint FROM events`), "the sum of value")
}
