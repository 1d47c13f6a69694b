package stream_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/stream"
)

func TestWhatAConsumerLeftPendingIsReadBeforeNewEntries(t *testing.T) {
	t.Parallel()
	g := open(t)
	ids := fixture.Add(t, g.Client, g.Key, fixture.Series(0, 10)...)
	deliver(t, g, g.Name, "a", 4)

	chunks := read(t, g, "a", func(r *stream.Reader) { r.Count = 3 })
	var got []string
	for _, want := range []struct {
		entries     int
		redelivered bool
	}{{3, true}, {1, true}, {3, false}, {3, false}} {
		c, some := next(t, chunks)
		require.Len(t, some, want.entries)
		require.Equal(t, want.redelivered, c.Redelivered)
		got = append(got, some...)
	}
	require.Equal(t, ids, got)
}

func TestEntriesOfADeadConsumerAreTakenOverOnceIdle(t *testing.T) {
	t.Parallel()
	g := open(t)
	fixture.Add(t, g.Client, g.Key, fixture.Series(0, 6)...)
	left := deliver(t, g, g.Name, "dead", 6)
	since := time.Now()

	const idle = 300 * time.Millisecond
	chunks := read(t, g, "b", func(r *stream.Reader) { r.ClaimEvery, r.ClaimIdle, r.Count = 20*time.Millisecond, idle, 4 })
	var got []string
	for len(got) < len(left) {
		c, ids := next(t, chunks)
		require.True(t, c.Redelivered)
		require.GreaterOrEqual(t, time.Since(since), idle)
		got = append(got, ids...)
	}
	require.Equal(t, left, got)
	b, err := g.Backlog(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 6, b.Pending, "taking over acknowledges nothing")
}

func TestAGroupThatIsGoneIsMadeAgainAndMissesNothing(t *testing.T) {
	t.Parallel()
	g := open(t)
	chunks := read(t, g, "a", nil)
	fixture.Add(t, g.Client, g.Key, fixture.Series(0, 3)...)
	first := nextN(t, chunks, 3)

	// The stream is flushed; more arrives before the reader is back.
	require.NoError(t, g.Client.Del(t.Context(), g.Key).Err())
	second := fixture.Add(t, g.Client, g.Key, fixture.Series(3, 6)...)
	require.Equal(t, second, nextN(t, chunks, 3))
	require.NoError(t, g.Ack(t.Context(), first), "acknowledging what went with the group is no fault")

	// The group alone is lost: all that is still in the stream comes again.
	require.NoError(t, g.Client.XGroupDestroy(t.Context(), g.Key, g.Name).Err())
	require.NoError(t, g.Ack(t.Context(), second))
	require.Equal(t, second, nextN(t, chunks, 3))
}

func TestPendingEntriesThatSomebodyDeletedHoldNothingUp(t *testing.T) {
	t.Parallel()
	g := open(t)
	fixture.Add(t, g.Client, g.Key, fixture.Series(0, 6)...)
	own := deliver(t, g, g.Name, "a", 2)
	others := deliver(t, g, g.Name, "dead", 2)
	require.NoError(t, g.Client.XDel(t.Context(), g.Key, own[0], others[0]).Err())

	chunks := read(t, g, "a", func(r *stream.Reader) { r.ClaimEvery, r.ClaimIdle = 10*time.Millisecond, 200*time.Millisecond })
	_, ids := next(t, chunks)
	require.Equal(t, own[1:], ids)
	seen := map[string]bool{}
	for !seen[others[1]] {
		_, ids = next(t, chunks)
		for _, id := range ids {
			seen[id] = true
		}
	}
	require.False(t, seen[own[0]] || seen[others[0]])
	require.Eventually(t, func() bool {
		b, err := g.Backlog(t.Context())
		return err == nil && b.Pending == 4 // the two that are gone are not
	}, fixture.Patience, 5*time.Millisecond)
}

func TestNothingIsReadWhileTheGateIsClosed(t *testing.T) {
	t.Parallel()
	g := open(t)
	fixture.Add(t, g.Client, g.Key, fixture.Series(0, 3)...)
	asked, opened := make(chan struct{}, 1), make(chan struct{}) // asked before somebody waits for it, too
	chunks := read(t, g, "a", func(r *stream.Reader) {
		r.Gate = func(ctx context.Context) error {
			select {
			case asked <- struct{}{}:
			default:
			}
			select {
			case <-opened:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	<-asked
	b, err := g.Backlog(t.Context())
	require.NoError(t, err)
	require.Zero(t, b.Pending)
	close(opened)
	_, ids := next(t, chunks)
	require.Len(t, ids, 3)
}

func TestLargeEntriesMakeChunksShorterNotLarger(t *testing.T) {
	t.Parallel()
	g := open(t)
	large := strings.Repeat("x", 30<<10)
	payloads := make([]string, 300)
	for i := range payloads {
		payloads[i] = large
	}
	want := fixture.Add(t, g.Client, g.Key, payloads...)
	for _, way := range []struct { // in this order: the second takes over what the first left
		name   string
		change func(*stream.Reader)
	}{
		{"as they come", nil},
		{"taken over", func(r *stream.Reader) { r.ClaimEvery, r.ClaimIdle = 10*time.Millisecond, 50*time.Millisecond }},
	} {
		t.Run(way.name, func(t *testing.T) {
			chunks := read(t, g, way.name, way.change)
			seen := map[string]bool{}
			for len(seen) < len(want) {
				_, ids := next(t, chunks)
				require.LessOrEqual(t, len(ids)*len(large), 1<<20)
				for _, id := range ids {
					seen[id] = true
				}
			}
		})
	}
}
