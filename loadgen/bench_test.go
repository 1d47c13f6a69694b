package loadgen_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
)

func BenchmarkNext(b *testing.B) {
	for name, c := range map[string]struct {
		rate   float64
		oracle bool
	}{"5k per second": {5000, false}, "500k per second": {500_000, false}, "500k per second with oracle": {500_000, true}} {
		b.Run(name, func(b *testing.B) {
			p, err := loadgen.Builtin("web-shop")
			require.NoError(b, err)
			p.Shape = loadgen.Constant(c.rate)
			g, err := loadgen.New(p, 1, time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))
			require.NoError(b, err)
			if c.oracle {
				g.Oracle()
			}
			buf, bytes := make([]byte, 0, 4096), 0
			b.ReportAllocs()
			for b.Loop() {
				item, _ := g.Next(buf)
				bytes += len(item.Payload)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(bytes)/float64(b.N), "B/event")
		})
	}
}
