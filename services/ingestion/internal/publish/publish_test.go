package publish_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"

	"weir/e2e/harness"
	"weir/services/ingestion/internal/gate"
	"weir/services/ingestion/internal/publish"
	"weir/services/shared/event"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func connect(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	options, err := redis.ParseURL(url)
	require.NoError(t, err)
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

// run runs a publisher until the test ends, and returns what ends it before.
func run(t testing.TB, p *publish.Publisher) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return stop
}

func TestOnlyEntriesOfASampledTraceCarryIt(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	client := connect(t, box.RedisURL)
	p := publish.New(publish.Config{}, client, []string{box.StreamName}, nil, prometheus.NewRegistry())
	run(t, p)
	const sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for i, traceparent := range []string{"", sampled, strings.TrimSuffix(sampled, "01") + "00", sampled, ""} {
		ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": traceparent})
		require.NoError(t, p.Publish(ctx, []publish.Message{{Payload: fmt.Sprint(i)}, {Payload: "x"}}))
	}
	entries, err := client.XRange(t.Context(), box.StreamName, "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, entries, 10)
	for i, e := range entries {
		want := map[string]any{event.Field: "x"}
		if i%2 == 0 {
			want[event.Field] = fmt.Sprint(i / 2)
		}
		if i/2 == 1 || i/2 == 3 {
			want[event.TraceField] = sampled
		}
		require.Equal(t, want, e.Values)
	}
}

func TestConcurrentRequestsAllReachTheirPartitions(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	client := connect(t, box.RedisURL)
	keys := event.StreamKeys(box.StreamName, 3)
	p := publish.New(publish.Config{}, client, keys, nil, prometheus.NewRegistry())
	run(t, p)
	var callers sync.WaitGroup
	for i := range 60 {
		callers.Go(func() {
			var messages []publish.Message
			for j := range 1 + i*20 { // some larger than one pipeline
				messages = append(messages, publish.Message{Partition: i % 3, Payload: fmt.Sprintf("%d-%d", i, j)})
			}
			if err := p.Publish(t.Context(), messages); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	seen := map[string]int{}
	for partition, key := range keys {
		entries, err := client.XRange(t.Context(), key, "-", "+").Result()
		require.NoError(t, err)
		for _, e := range entries {
			payload := e.Values[event.Field].(string)
			seen[payload]++
			var i int
			_, err := fmt.Sscanf(payload, "%d-", &i)
			require.NoError(t, err)
			require.Equal(t, i%3, partition)
		}
	}
	require.Len(t, seen, 60+20*60*59/2)
	for payload, n := range seen {
		require.Equal(t, 1, n, payload)
	}
}

func TestWhatRedisRefusesIsAnError(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	client := connect(t, box.RedisURL)
	require.NoError(t, client.Set(t.Context(), box.StreamName, "not a stream", 0).Err())
	p := publish.New(publish.Config{}, client, []string{box.StreamName}, nil, prometheus.NewRegistry())
	run(t, p)
	require.ErrorContains(t, p.Publish(t.Context(), []publish.Message{{Payload: "x"}}), "WRONGTYPE")
}

func TestRequestsDoNotPileUpWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialTimeout: time.Second})
	defer client.Close()
	p := publish.New(publish.Config{}, client, []string{"events"}, nil, prometheus.NewRegistry()) // nobody flushes
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	busy := make(chan struct{}, 1)
	for range 17_000 { // more than may wait
		callers.Go(func() {
			refused, ok := gate.IsRefused(p.Publish(ctx, []publish.Message{{Payload: "x"}}))
			if ok && refused.Reason == gate.Busy {
				select {
				case busy <- struct{}{}:
				default:
				}
			}
		})
	}
	<-busy
	cancel()
	callers.Wait()
}

// trips counts round trips, and makes them itself.
type trips struct {
	n    atomic.Int64
	trip func() error
}

func (h *trips) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, commands []redis.Cmder) error {
		h.n.Add(1)
		err := h.trip()
		for _, c := range commands {
			c.SetErr(err)
		}
		return err
	}
}

func (h *trips) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func TestALargeRequestIsNotTriedFurtherThanItMatters(t *testing.T) {
	t.Parallel()
	sent := errors.New("nothing came back")
	for name, c := range map[string]struct {
		err  error // of the first round trip
		gone bool  // whether the sender has gone after it
		made int64
	}{
		"all goes well":       {nil, false, 40},
		"Redis does not say":  {sent, false, 1},
		"the sender has gone": {nil, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			server := &trips{trip: func() error {
				if c.gone {
					leave()
				}
				return c.err
			}}
			client := redis.NewClient(&redis.Options{})
			defer client.Close()
			client.AddHook(server)
			p := publish.New(publish.Config{}, client, []string{"events"}, nil, prometheus.NewRegistry())
			stop := run(t, p)
			err := p.Publish(ctx, make([]publish.Message, 20_000))
			if c.gone {
				require.ErrorIs(t, err, context.Canceled)
			} else {
				require.ErrorIs(t, err, c.err)
			}
			stop()
			require.Equal(t, c.made, server.n.Load())
		})
	}
}

func TestPublishReturnsOnceRedisHasTheMessage(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	client := connect(t, box.RedisURL)
	p := publish.New(publish.Config{}, client, []string{box.StreamName}, nil, prometheus.NewRegistry())
	done := make(chan error, 1)
	go func() { done <- p.Publish(context.Background(), []publish.Message{{Payload: "last"}}) }()
	stop := run(t, p)
	require.NoError(t, <-done)
	stop()
	n, err := client.XLen(t.Context(), box.StreamName).Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}
