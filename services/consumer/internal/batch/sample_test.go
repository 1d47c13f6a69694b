package batch

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/shared/event"
)

func decoded(events ...event.Event) *Batch {
	b := New()
	payloads := make([]string, len(events))
	for i := range events {
		payloads[i] = fixture.Payload(events[i])
	}
	b.Add(fixture.Chunk("events", 0, payloads...))
	b.Decode(time.Now())
	return b
}

func ids(t *testing.T, sample []json.RawMessage) (list []string) {
	for _, e := range sample {
		var got struct{ ID string }
		require.NoError(t, json.Unmarshal(e, &got))
		list = append(list, got.ID)
	}
	return list
}

func TestSampleIsSpreadOverWhatWasStored(t *testing.T) {
	t.Parallel()
	var events []event.Event
	for i := range 100 {
		events = append(events, fixture.Event(i))
	}
	b := decoded(events...)
	sample := ids(t, b.Sample())
	require.Len(t, sample, SampleEvents)
	for i, id := range sample {
		require.Equal(t, events[i*5].ID.String(), id)
	}

	b.Recount([]int{7, 9})
	require.Equal(t, []string{events[7].ID.String(), events[9].ID.String()}, ids(t, b.Sample()))
	b.Recount(nil)
	require.Empty(t, b.Sample(), "all were stored before")
	b.Reset()
	require.Empty(t, b.Sample())

	large := fixture.Event(1)
	large.Properties = `{"p":"` + strings.Repeat("x", sampleMaxBytes) + `"}`
	require.Equal(t, ids(t, decoded(events[0]).Sample()), ids(t, decoded(large, events[0]).Sample()))
}

func BenchmarkSample(b *testing.B) {
	var events []event.Event
	for i := range 1000 {
		events = append(events, fixture.Event(i))
	}
	batch := decoded(events...)
	for b.Loop() {
		batch.Sample()
	}
}
