package batch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/stream"
	"weir/services/shared/event"
)

// benchmarked is how many events a batch of these benchmarks has: what the consumer
// writes at once when there is a backlog is 30,000 at most.
const benchmarked = 10_000

// chunks are realistic events as they come from the stream.
func chunks(b *testing.B) (list []stream.Chunk, events []event.Event) {
	b.Helper()
	profile, err := loadgen.Builtin("web-shop")
	require.NoError(b, err)
	profile.Faults = loadgen.Faults{}
	g, err := loadgen.New(profile, 1, time.Now().Add(-time.Hour))
	require.NoError(b, err)
	const size = 2000
	for lo := 0; lo < benchmarked; lo += size {
		payloads := make([]string, size)
		for i := range payloads {
			item, _ := g.Next(nil)
			payloads[i] = string(item.Payload)
			var e event.Event
			require.Nil(b, e.Parse(payloads[i]))
			events = append(events, e)
		}
		list = append(list, fixture.Chunk("events", lo+1, payloads...))
	}
	return list, events
}

// perEvent adds what benchstat compares best.
func perEvent(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchmarked, "ns/event")
}

// BenchmarkDecode is all of the consumer's own work on an event, from JSON to what goes
// to PostgreSQL; without deltas for what they cost.
func BenchmarkDecode(b *testing.B) {
	list, _ := chunks(b)
	for name, batch := range map[string]*Batch{"counted": New(), "uncounted": NewUncounted()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset()
				for _, c := range list {
					batch.Add(c)
				}
				batch.Decode(time.Now())
			}
			require.Len(b, batch.Rows, benchmarked)
			perEvent(b)
		})
	}
}

// BenchmarkDeltas counts events that are decoded already.
func BenchmarkDeltas(b *testing.B) {
	_, events := chunks(b)
	d := newDeltas()
	b.ReportAllocs()
	for b.Loop() {
		d.Reset()
		for i := range events {
			d.Add(&events[i])
		}
	}
	perEvent(b)
	b.ReportMetric(float64(d.Len())/benchmarked, "deltas/event")
}

// BenchmarkCopyEncoding writes rows in the binary format of COPY.
func BenchmarkCopyEncoding(b *testing.B) {
	_, events := chunks(b)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = dst[:0]
		for i := range events {
			dst = appendRow(dst, &events[i])
		}
	}
	b.SetBytes(int64(len(dst)))
	perEvent(b)
}

// BenchmarkDeltasCopy writes a batch's deltas and users in the binary format of COPY.
func BenchmarkDeltasCopy(b *testing.B) {
	_, events := chunks(b)
	d := newDeltas()
	for i := range events {
		d.Add(&events[i])
	}
	for i, key := range d.Unresolved() {
		d.Resolve(key, int32(i+1))
	}
	var counts []byte
	var users [2][]byte
	b.ReportAllocs()
	for b.Loop() {
		counts, users = d.AppendCopy(counts[:0]), d.AppendUsersCopy([2][]byte{users[0][:0], users[1][:0]})
	}
	perEvent(b)
}
