package stream_test

import (
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/stream"
)

// pendingOf lists the marks in the group: how many entries each stands for.
func pendingOf(t *testing.T, g stream.Group) (n []int64) {
	t.Helper()
	list, err := g.Client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: g.Key, Group: g.Name, Start: "-", End: "+", Count: 100}).Result()
	require.NoError(t, err)
	for _, e := range list {
		n = append(n, e.RetryCount)
	}
	return n
}

func TestAChunkIsPendingByItsMarkUntilAcknowledged(t *testing.T) {
	t.Parallel()
	g := open(t)
	ids := fixture.Add(t, g.Client, g.Key, fixture.Series(0, 25)...)
	chunks := read(t, g, "a", func(r *stream.Reader) { r.Count = 10 })
	first, _ := next(t, chunks)
	_, _ = next(t, chunks)
	_, _ = next(t, chunks)
	require.Equal(t, []int64{10, 10, 5}, pendingOf(t, g))
	b := measure(t, g)
	require.EqualValues(t, 25, b.Pending)
	require.EqualValues(t, 25, b.Events)

	require.NoError(t, g.Ack(t.Context(), first.Marks))
	b = measure(t, g)
	require.EqualValues(t, 15, b.Events)
	require.Equal(t, []int64{10, 5}, pendingOf(t, g))
	fixture.Add(t, g.Client, g.Key, fixture.Series(25, 26)...)
	_, more := next(t, chunks)
	require.Len(t, more, 1)
	require.NotContains(t, ids, more[0])
}

func TestChunksThatWereLeftComeWholeToTheirConsumerOrToAnother(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]string{"the same, started anew": "a", "another": "b"} {
		g := open(t)
		ids := fixture.Add(t, g.Client, g.Key, fixture.Series(0, 100)...)
		t.Run(name, func(t *testing.T) { // a reader that ends with its chunks unacknowledged
			chunks := read(t, g, "a", func(r *stream.Reader) { r.Count = 30 })
			require.Equal(t, ids, nextN(t, chunks, 100))
		})
		chunks := read(t, g, again, func(r *stream.Reader) { r.ClaimEvery, r.ClaimIdle = 10*time.Millisecond, 100*time.Millisecond })
		var got []string
		for len(got) < 100 {
			c, some := next(t, chunks)
			require.True(t, c.Redelivered)
			got = append(got, some...)
		}
		require.Equal(t, ids, got[:100], name)
	}
}

func TestReadersThatRaceTakeEachEntryOnce(t *testing.T) {
	t.Parallel()
	g := open(t)
	const n, readers = 20_000, 4
	var all []<-chan stream.Chunk
	var inVain atomic.Int64
	for i := range readers {
		all = append(all, read(t, g, strconv.Itoa(i), func(r *stream.Reader) {
			r.Count, r.InVain = 97, func(n int) { inVain.Add(int64(n)) }
		}))
	}
	chunks := merge(t, all...)
	want := fixture.Add(t, g.Client, g.Key, fixture.Series(0, n)...)
	seen := map[string]bool{}
	for len(seen) < n {
		_, ids := next(t, chunks)
		for _, id := range ids {
			require.False(t, seen[id], "%s was given twice", id)
			seen[id] = true
		}
	}
	for _, id := range want {
		require.True(t, seen[id])
	}
	b := measure(t, g)
	require.EqualValues(t, n, b.Pending)
	require.EqualValues(t, n, b.Events)
	t.Logf("read in vain: %d of %d", inVain.Load(), n)
	require.Less(t, inVain.Load(), int64(n/4), "they take turns, or each would read all")
}

func TestAMarkThatSomebodyDeletedLeavesTheRestOfItsChunk(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]string{"its own": "a", "another": "b"} {
		g := open(t)
		ids := fixture.Add(t, g.Client, g.Key, fixture.Series(0, 20)...)
		t.Run(name, func(t *testing.T) {
			chunks := read(t, g, "a", func(r *stream.Reader) { r.Count = 10 })
			require.Equal(t, ids, nextN(t, chunks, 20))
		})
		require.NoError(t, g.Client.XDel(t.Context(), g.Key, ids[0]).Err())
		chunks := read(t, g, again, func(r *stream.Reader) { r.ClaimEvery, r.ClaimIdle = 10*time.Millisecond, 100*time.Millisecond })
		seen := map[string]bool{}
		for len(seen) < 19 {
			c, some := next(t, chunks)
			for _, id := range some {
				seen[id] = true
			}
			require.NoError(t, g.Ack(t.Context(), c.Marks))
		}
		require.False(t, seen[ids[0]])
		require.Empty(t, pendingOf(t, g))
	}
}

func TestAGroupThatAnOperatorMovesIsFollowed(t *testing.T) {
	t.Parallel()
	g := open(t)
	ids := fixture.Add(t, g.Client, g.Key, fixture.Series(0, 10)...)
	chunks := read(t, g, "a", nil)
	c, got := next(t, chunks)
	require.Equal(t, ids, got)
	require.NoError(t, g.Ack(t.Context(), c.Marks))

	require.NoError(t, g.Client.XGroupSetID(t.Context(), g.Key, g.Name, ids[3]).Err())
	_, got = next(t, chunks)
	require.Equal(t, ids[4:], got, "read again")

	more := fixture.Add(t, g.Client, g.Key, fixture.Series(10, 12)...)
	require.NoError(t, g.Client.XGroupSetID(t.Context(), g.Key, g.Name, "$").Err())
	last := fixture.Add(t, g.Client, g.Key, fixture.Series(12, 13)...)
	var seen []string
	for !slices.Contains(seen, last[0]) {
		_, got = next(t, chunks)
		seen = append(seen, got...)
	}
	require.Subset(t, append(more, last...), seen, "what was skipped may have come before")
}
