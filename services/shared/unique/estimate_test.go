package unique

import (
	"math/rand/v2"
	"testing"

	"github.com/axiomhq/hyperloglog"
	"github.com/stretchr/testify/require"
)

func TestEstimateIsTheLibrarys(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	sketch := hyperloglog.New16NoSparse()
	require.EqualValues(t, sketch.Estimate(), estimate(sketch))
	for n, next := 0, 1; n < 3_000_000; n++ {
		sketch.InsertHash(random.Uint64())
		if n == next {
			require.InDelta(t, sketch.Estimate(), estimate(sketch), 1, "with %d", n) // the last bit of a sum
			next = next*3/2 + 1
		}
	}
}

func BenchmarkEstimate(b *testing.B) {
	sketch := hyperloglog.New16NoSparse()
	for range 200_000 {
		sketch.InsertHash(rand.Uint64())
	}
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			_ = sketch.Estimate()
		}
	})
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			_ = estimate(sketch)
		}
	})
}
