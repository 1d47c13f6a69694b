package consumer

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/shared/rollup"
)

// The hour that the feed shows, with room for clocks that differ, and no history: of that
// each event has lines of its own, which nobody would read.
func TestTheLiveFeedIsToldOfTheLastTwoHours(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	client := fixture.Redis(t, box)
	channel := rollup.Channel(box.StreamName)
	feed := client.Subscribe(t.Context(), channel)
	t.Cleanup(func() { _ = feed.Close() })
	_, err := feed.Receive(t.Context()) // the confirmation
	require.NoError(t, err)

	now := time.Now()
	told := []time.Duration{0, time.Hour, 110 * time.Minute}
	untold := []time.Duration{130 * time.Minute, 24 * time.Hour}
	want, payloads := map[int32]int64{}, []string{}
	for i, ago := range append(told, untold...) {
		e := fixture.Event(i)
		e.Time = now.Add(-ago)
		payloads = append(payloads, fixture.Payload(e))
		if i < len(told) {
			want[int32(e.Time.Unix()/60)]++
		}
	}
	fixture.Add(t, client, box.StreamName, payloads...)
	r := start(t, box, nil)
	settled(t, box, int64(len(payloads))) // counted all the same
	r.stop()
	require.NoError(t, client.Publish(t.Context(), channel, "the end").Err())

	got := map[int32]int64{}
	for {
		message, err := feed.Receive(t.Context())
		require.NoError(t, err)
		text := message.(*redis.Message).Payload
		if text == "the end" {
			break
		}
		var b rollup.Batch
		require.NoError(t, json.Unmarshal([]byte(text), &b))
		for _, d := range b.Deltas {
			if d.Key.Dimension == rollup.All {
				got[d.Minute] += d.Events
			}
		}
	}
	require.Equal(t, want, got)
}
