package rollup_test

import (
	"fmt"
	"testing"

	"weir/services/shared/rollup"
)

// BenchmarkUnmarshal reads the message of a batch at full speed, as the api does.
func BenchmarkUnmarshal(b *testing.B) {
	const deltas = 4000
	batch := rollup.Batch{XID: 17}
	for i := range int32(deltas) {
		batch.Deltas = append(batch.Deltas, rollup.Delta{Minute: 29539440 + i%2, Key: rollup.Key{Dimension: rollup.Path, Type: "page_view", Value: fmt.Sprintf("/products/%d", i)}, Events: 3, Value: 49_950_000})
	}
	message := batch.AppendJSON(nil)
	b.ReportAllocs()
	for b.Loop() {
		var got rollup.Batch
		if err := got.UnmarshalJSON(message); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/deltas, "ns/delta")
}
