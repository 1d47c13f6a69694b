package stream_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/stream"
	"weir/services/shared/backlog"
)

func measure(t *testing.T, g stream.Group) backlog.Backlog {
	t.Helper()
	b, err := g.Backlog(t.Context())
	require.NoError(t, err)
	return b
}

func TestBacklogIsWhatIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	g := open(t)
	b := measure(t, g)
	require.Equal(t, backlog.Backlog{Group: true, Now: b.Now}, b)
	require.WithinDuration(t, time.Now(), b.Now, time.Minute) // two clocks

	ids := fixture.Add(t, g.Client, g.Key, fixture.Series(0, 10)...)
	b = measure(t, g)
	require.True(t, b.Group)
	require.EqualValues(t, 10, b.Events)
	require.Zero(t, b.Pending)
	require.Less(t, b.Age, time.Minute)

	deliver(t, g, g.Name, "a", 4)
	require.NoError(t, g.Ack(t.Context(), ids[1:3]))
	b = measure(t, g)
	require.EqualValues(t, 8, b.Events)
	require.EqualValues(t, 2, b.Pending)
	require.EqualValues(t, 10, b.Length)
	require.Positive(t, b.Age)

	// Redis does not know the lag any more, and the length takes its place.
	require.NoError(t, g.Client.XDel(t.Context(), g.Key, ids[7]).Err())
	require.EqualValues(t, 9, measure(t, g).Events)

	deliver(t, g, g.Name, "a", 5)
	require.NoError(t, g.Ack(t.Context(), ids))
	b = measure(t, g)
	require.Zero(t, b.Events)
	require.EqualValues(t, 10, b.Done)
	require.Zero(t, b.Age)

	require.NoError(t, g.Client.XGroupDestroy(t.Context(), g.Key, g.Name).Err())
	b = measure(t, g)
	require.EqualValues(t, 9, b.Events, "without the group, all of it")
	require.False(t, b.Group)
	require.Positive(t, b.Age)
	require.NoError(t, g.Client.Del(t.Context(), g.Key).Err())
	b = measure(t, g)
	require.Equal(t, backlog.Backlog{Now: b.Now}, b)
}

func TestTrimmingNeverRemovesWhatAnyGroupStillNeeds(t *testing.T) {
	t.Parallel()
	g := open(t)
	// Redis lists the groups by name: this one comes last.
	require.NoError(t, g.Client.XGroupCreate(t.Context(), g.Key, "z-slow", "0").Err())
	const n = 6000 // several nodes of the stream, as it is trimmed by whole nodes
	ids := fixture.Add(t, g.Client, g.Key, fixture.Series(0, n)...)
	there := func() int {
		length, err := g.Client.XLen(t.Context(), g.Key).Result()
		require.NoError(t, err)
		return int(length)
	}
	trim := func() {
		_, err := g.Trim(t.Context())
		require.NoError(t, err)
	}

	deliver(t, g, g.Name, "a", n)
	trim()
	require.Equal(t, n, there(), "all are pending")
	require.NoError(t, g.Ack(t.Context(), ids))
	trim()
	require.Equal(t, n, there(), "slow has read none")

	slow := stream.Group{Reading: g.Reading, Client: g.Client, Key: g.Key, Name: "z-slow"}
	deliver(t, g, "z-slow", "s", 3000)
	require.NoError(t, slow.Ack(t.Context(), append(append([]string{}, ids[:2500]...), ids[2501:3000]...)))
	trim()
	require.GreaterOrEqual(t, there(), n-2500, "slow has one pending and has not seen the rest")
	require.Less(t, there(), n, "what is done with goes")
	first, err := g.Client.XRangeN(t.Context(), g.Key, "-", "+", 1).Result()
	require.NoError(t, err)
	require.LessOrEqual(t, slices.Index(ids, first[0].ID), 2500)

	require.NoError(t, slow.Ack(t.Context(), ids[2500:2501]))
	deliver(t, g, "z-slow", "s", 3000)
	require.NoError(t, slow.Ack(t.Context(), ids))
	trim()
	require.LessOrEqual(t, there(), 1000, "at most a node is left")
}
