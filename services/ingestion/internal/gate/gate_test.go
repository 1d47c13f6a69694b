package gate

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
	"weir/services/shared/redisclient"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// wide are marks that nothing reaches.
var wide = Config{Group: "weir", HighEvents: 1 << 40, LowEvents: 1 << 39, HighAge: 1 << 60, LowAge: time.Minute, MaxMemory: 1 << 50}

func open(t *testing.T, partitions int, change func(*Config)) (*Gate, redis.UniversalClient, []string) {
	t.Helper()
	box := harness.NewSandbox(t)
	client, err := redisclient.New(redisclient.Config{URL: box.RedisURL}, redisclient.FailFast)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	c := wide
	change(&c)
	keys := event.StreamKeys(box.StreamName, partitions)
	g := New(c, client, keys, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	return g, client, keys
}

func add(t *testing.T, client redis.UniversalClient, key string, n int) {
	t.Helper()
	for range n {
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []any{event.Field, "{}"}}).Err())
	}
}

func createGroup(t *testing.T, client redis.UniversalClient, key string) {
	t.Helper()
	require.NoError(t, client.XGroupCreateMkStream(t.Context(), key, "weir", "0").Err())
}

// consume reads and acknowledges n entries.
func consume(t *testing.T, client redis.UniversalClient, key string, n int64) {
	t.Helper()
	got, err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "weir", Consumer: "c", Streams: []string{key, ">"}, Count: n, Block: -1}).Result()
	require.NoError(t, err)
	require.Len(t, got[0].Messages, int(n))
	for _, m := range got[0].Messages {
		require.NoError(t, client.XAck(t.Context(), key, "weir", m.ID).Err())
	}
}

// state measures and returns why the gate is shut.
func state(t *testing.T, g *Gate) Reason {
	t.Helper()
	g.Measure(t.Context())
	refused, _ := IsRefused(g.Ask())
	if refused == nil {
		return ""
	}
	return refused.Reason
}

func TestItShutsAtTheHighMarkAndOpensAtTheLow(t *testing.T) {
	t.Parallel()
	g, client, keys := open(t, 2, func(c *Config) { c.HighEvents, c.LowEvents = 10, 4 })
	require.Error(t, g.Ask(), "shut until it is measured")
	for _, key := range keys {
		createGroup(t, client, key)
	}
	require.Empty(t, state(t, g))
	add(t, client, keys[0], 6)
	add(t, client, keys[1], 3)
	require.Empty(t, state(t, g), "9 in two streams")
	add(t, client, keys[1], 1)
	require.Equal(t, Backlog, state(t, g))
	require.Error(t, g.Admit(1, 1))
	require.Zero(t, testutil.ToFloat64(g.refused.WithLabelValues("age")))
	require.Positive(t, testutil.ToFloat64(g.refused.WithLabelValues("backlog")))
	consume(t, client, keys[0], 5)
	require.Equal(t, Backlog, state(t, g), "5 are above the low mark")
	consume(t, client, keys[1], 1)
	require.Empty(t, state(t, g))
	add(t, client, keys[0], 5)
	require.Empty(t, state(t, g), "9 are below the high mark")
}

func TestItShutsInTimeHoweverFastEventsCome(t *testing.T) {
	t.Parallel()
	g, client, keys := open(t, 1, func(c *Config) { c.HighEvents, c.LowEvents = 1000, 10 })
	createGroup(t, client, keys[0])
	require.Empty(t, state(t, g))
	for range 10 {
		require.NoError(t, g.Admit(100, 1))
	}
	require.Error(t, g.Admit(1, 1), "1000 are on their way, none measured")
	add(t, client, keys[0], 1000)
	for range 10 {
		g.Landed(100, 1, nil)
	}
	require.Equal(t, Backlog, state(t, g))
	consume(t, client, keys[0], 1000)
	require.Empty(t, state(t, g))
	require.NoError(t, g.Admit(1, 1), "what landed is measured now, not counted twice")
}

func TestWithoutAGroupAllOfTheStreamWaitsAndNothingIsOverdue(t *testing.T) {
	t.Parallel()
	g, client, keys := open(t, 1, func(c *Config) { c.HighEvents, c.LowEvents, c.HighAge = 10, 5, time.Hour })
	require.Empty(t, state(t, g), "no stream")
	require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: keys[0], ID: "1-1", Values: []any{event.Field, "{}"}}).Err())
	require.Empty(t, state(t, g), "old, but nobody has begun to read")
	add(t, client, keys[0], 9)
	require.Equal(t, Backlog, state(t, g))
	createGroup(t, client, keys[0])
	consume(t, client, keys[0], 10)
	require.Empty(t, state(t, g))
}

func TestItShutsWhileTheOldestIsTooOld(t *testing.T) {
	t.Parallel()
	g, client, keys := open(t, 1, func(c *Config) { c.HighAge, c.LowAge = time.Hour, 30*time.Minute })
	createGroup(t, client, keys[0])
	for _, age := range []time.Duration{2 * time.Hour, 45 * time.Minute, time.Minute} {
		id := fmt.Sprintf("%d-1", time.Now().Add(-age).UnixMilli())
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: keys[0], ID: id, Values: []any{event.Field, "{}"}}).Err())
	}
	require.Equal(t, Age, state(t, g))
	consume(t, client, keys[0], 1)
	require.Equal(t, Age, state(t, g), "45 minutes are above the low mark")
	consume(t, client, keys[0], 1)
	require.Empty(t, state(t, g))
}

func TestRedisDoesNotGrowPastTheStatedMemory(t *testing.T) {
	t.Parallel()
	g, client, _ := open(t, 1, func(*Config) {})
	info, err := client.Info(t.Context(), "memory").Result()
	require.NoError(t, err)
	used := number(info, "used_memory")
	g.config.MaxMemory = used + 256<<20 // far above what other tests use beside this one
	require.Empty(t, state(t, g))
	let := 0
	for g.Admit(100, 100_000) == nil {
		g.Landed(100, 100_000, nil)
		require.Less(t, let, 256<<20)
		let += 100_000
	}
	require.Equal(t, Memory, g.reason, "it is counted between measurements")
	require.InDelta(t, (256<<20)/overhead, let, 64<<20)

	g.config.MaxMemory = used / 2
	require.Equal(t, Memory, state(t, g))
	g.config.MaxMemory = used * 100
	require.Empty(t, state(t, g))
}

func TestARedisThatIsFullOrGoneShutsItAtOnce(t *testing.T) {
	t.Parallel()
	g, client, _ := open(t, 1, func(*Config) {})
	require.Empty(t, state(t, g))
	wrong := client.Do(t.Context(), "XADD").Err()
	require.Error(t, wrong)
	g.Landed(1, 1, wrong)
	require.NoError(t, g.Ask(), "an error of one command says nothing about Redis")

	g.Landed(1, 1, fmt.Errorf("publish: %w", client.Eval(t.Context(), `return redis.error_reply("OOM command not allowed when used memory > 'maxmemory'.")`, nil).Err()))
	require.Equal(t, Memory, g.reason)
	require.Empty(t, state(t, g))

	gone, err := redisclient.New(redisclient.Config{URL: "redis://127.0.0.1:1"}, redisclient.FailFast)
	require.NoError(t, err)
	defer gone.Close()
	g.Landed(1, 1, gone.Ping(t.Context()).Err())
	require.Equal(t, Away, g.State())
	refused, ok := IsRefused(g.Admit(1, 1))
	require.True(t, ok)
	require.Equal(t, Away, refused.Reason)
	require.Empty(t, state(t, g), "it answers")
	g.client = gone
	require.Equal(t, Away, state(t, g))
}

func TestBytesOnTheirWayAreBounded(t *testing.T) {
	t.Parallel()
	g, _, _ := open(t, 1, func(*Config) {})
	require.Empty(t, state(t, g))
	require.NoError(t, g.Admit(1, maxFlying+1), "one is let in, however large")
	refused, ok := IsRefused(g.Admit(1, 1))
	require.True(t, ok)
	require.Equal(t, Busy, refused.Reason)
	g.Landed(1, maxFlying+1, nil)
	require.NoError(t, g.Admit(1, 1))
}

func TestRetryAfterFollowsTheDrainRate(t *testing.T) {
	t.Parallel()
	c := Config{HighEvents: 1000, LowEvents: 500, HighAge: time.Hour, LowAge: 30 * time.Minute}
	for _, test := range []struct {
		why    Reason
		r      reading
		expect time.Duration
	}{
		{Backlog, reading{events: 1000, drain: 50}, 10 * time.Second},
		{Backlog, reading{events: 1000, drain: 5000}, minWait},
		{Backlog, reading{events: 1000, drain: 1}, maxWait},
		{Backlog, reading{events: 1000}, 7 * time.Second}, // nothing is known: as long again
		{Backlog, reading{events: 100, drain: 50}, minWait},
		{Age, reading{events: 1000, age: time.Hour, drain: 20}, 25 * time.Second},
		{Memory, reading{events: 1000, memory: 1000, limit: 1000, drain: 10}, 10 * time.Second},
		{Away, reading{events: 1000, drain: 1}, minWait},
	} {
		require.InDelta(t, test.expect.Seconds(), test.r.wait(test.why, &c, 7*time.Second).Seconds(), 0.01, "%s %+v", test.why, test.r)
	}
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := jitter(10 * time.Second)
		require.Zero(t, d%time.Second)
		seen[d] = true
	}
	require.Len(t, seen, 10, "6 to 15 seconds: %v", seen)
	require.GreaterOrEqual(t, jitter(minWait), time.Second)

	// A steady 100 events a second, whichever way it is seen, known from the first on.
	last := reading{at: time.Now(), events: 10_000}
	step := func(events, done int64) {
		r := reading{at: last.at.Add(200 * time.Millisecond), events: events, done: done}
		r.drain, r.sureness = last.drainUntil(r)
		last = r
	}
	for i := range int64(200) {
		step(last.events-20, last.done+20*(i%2))
		require.InDelta(t, 100, last.drain, 1)
	}
	// A consumer that has nothing to do is not a slow one.
	last.events = 5
	for range 200 {
		step(5, last.done+5)
	}
	require.InDelta(t, 100, last.drain, 1)
	step(5, last.done+30) // it can do that, too
	require.InDelta(t, 150, last.drain, 1)
	for range 200 { // and a faster one is noticed
		step(10_000, last.done+40)
	}
	require.InDelta(t, 200, last.drain, 1)
}

// Under overload each measurement opens the gate for a moment. Whoever was refused comes
// back after whole seconds, and must not meet it shut for ever, whenever they came first.
func TestWhoComesBackAfterWholeSecondsFindsItOpenAtTimes(t *testing.T) {
	t.Parallel()
	const open, tries, phases = measureEvery / 5, 1000, 20
	measured := []time.Duration{0}
	for last := time.Duration(0); last < (tries+1)*time.Second; {
		last += pause()
		measured = append(measured, last)
	}
	for phase := range phases {
		found := 0
		for try := range tries {
			at := time.Duration(try)*time.Second + time.Duration(phase)*time.Second/phases
			i, exact := slices.BinarySearch(measured, at)
			if exact || at-measured[i-1] < open {
				found++
			}
		}
		require.InDelta(t, tries/5, found, 80, "who came %d/%d s after a second", phase, phases)
	}
}

func TestMarksMustLeaveRoomBetweenThem(t *testing.T) {
	t.Parallel()
	err := Config{HighEvents: 10, LowEvents: 10, HighAge: time.Minute, LowAge: time.Hour}.Validate()
	require.ErrorContains(t, err, "BACKPRESSURE_LOW_EVENTS must be below")
	require.ErrorContains(t, err, "BACKPRESSURE_LOW_AGE must be below")
	require.NoError(t, wide.Validate())
}

func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	for _, why := range reasons {
		require.NotEmpty(t, (&Refused{Reason: why}).Error())
	}
	_, ok := IsRefused(errors.New("other"))
	require.False(t, ok)
	var none *Gate
	require.NoError(t, none.Ask())
	require.Empty(t, none.State())
	require.NoError(t, none.Admit(1, 1))
	require.True(t, strings.HasPrefix(none.Refuse(Busy).Error(), "Too many"))
}

func BenchmarkAdmit(b *testing.B) {
	g := New(wide, nil, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	g.reason, g.last.limit = "", 1<<50
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if g.Admit(1, 300) == nil {
				g.Landed(1, 300, nil)
			}
		}
	})
}
