package generator

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
)

// BenchmarkRun is what a run costs beside its receiver: making events up, gathering
// and statistics.
func BenchmarkRun(b *testing.B) {
	p, err := loadgen.Builtin("web-shop")
	require.NoError(b, err)
	p.Shape = loadgen.Constant(500_000)
	source, err := loadgen.New(p, 1, time.Now())
	require.NoError(b, err)
	r := &Run{Source: source, Start: time.Now(), Partitions: 1, Most: Most, Unpaced: true, Statistics: NewStatistics()}
	batch := &Batch{}
	b.ReportAllocs()
	events := 0
	for b.Loop() {
		batch.reset()
		r.fill(batch)
		r.Unpaced = false // the statistics of a paced run are those that cost
		r.Statistics.record(batch, r, time.Now(), true)
		r.Unpaced = true
		events += batch.Len()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
}
