package stream_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/stream"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// open returns the group "weir" of a stream of the test's own.
func open(t *testing.T) stream.Group {
	t.Helper()
	box := harness.NewSandbox(t)
	g := stream.Group{Reading: fixture.Redis(t, box), Client: fixture.Redis(t, box), Key: box.StreamName, Name: "weir"}
	require.NoError(t, g.Ensure(t.Context()))
	return g
}

// read runs a reader until the test ends, and returns its chunks.
func read(t *testing.T, g stream.Group, consumer string, change func(*stream.Reader)) <-chan stream.Chunk {
	t.Helper()
	r := stream.Reader{
		Group: g, Consumer: consumer, Log: fixture.Log(), Count: 1000, Block: 20 * time.Millisecond,
		ClaimEvery: time.Hour, ClaimIdle: time.Hour, Gate: func(ctx context.Context) error { return ctx.Err() },
	}
	if change != nil {
		change(&r)
	}
	out := make(chan stream.Chunk)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r.Abandon = ctx.Done()
	stopped := make(chan error, 1)
	go func() { stopped <- r.Run(ctx, out) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-stopped)
	})
	return out
}

// merge sends on what several readers read.
func merge(t *testing.T, readers ...<-chan stream.Chunk) <-chan stream.Chunk {
	t.Helper()
	all := make(chan stream.Chunk)
	for _, chunks := range readers {
		go func() {
			for {
				select {
				case c := <-chunks:
					select {
					case all <- c:
					case <-t.Context().Done():
						return
					}
				case <-t.Context().Done():
					return
				}
			}
		}()
	}
	return all
}

// next takes a chunk, and the ids in it.
func next(t *testing.T, chunks <-chan stream.Chunk) (stream.Chunk, []string) {
	t.Helper()
	select {
	case c := <-chunks:
		ids := make([]string, len(c.Entries))
		for i, e := range c.Entries {
			ids[i] = e.ID
		}
		return c, ids
	case <-time.After(fixture.Patience):
		t.Fatal("nothing was read")
		return stream.Chunk{}, nil
	}
}

// nextN takes chunks until there are n ids.
func nextN(t *testing.T, chunks <-chan stream.Chunk, n int) (all []string) {
	t.Helper()
	for len(all) < n {
		_, ids := next(t, chunks)
		all = append(all, ids...)
	}
	return all
}

// deliver gives the next n entries to a consumer of a group, which does nothing more.
func deliver(t *testing.T, g stream.Group, group, consumer string, n int64) (ids []string) {
	t.Helper()
	got, err := g.Client.XReadGroup(t.Context(), &redis.XReadGroupArgs{
		Group: group, Consumer: consumer, Streams: []string{g.Key, ">"}, Count: n, Block: -1,
	}).Result()
	require.NoError(t, err)
	for _, m := range got[0].Messages {
		ids = append(ids, m.ID)
	}
	require.Len(t, ids, int(n))
	return ids
}
