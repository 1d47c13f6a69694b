package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCapacityIsFoundWithinATenth has the search try systems whose capacity is known,
// and which waver from try to try as real ones do.
func TestCapacityIsFoundWithinATenth(t *testing.T) {
	t.Parallel()
	for _, capacity := range []float64{3, 900, 10_000, 87_000, 140_000, 900_000} {
		for _, noise := range []float64{0, 0.02} {
			t.Run(fmt.Sprintf("%.0f wavering by %v", capacity, noise), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(uint64(capacity), 1))
				s, tries := search{rate: 10_000, most: 1e6, precision: 0.05}, 0
				for ; !s.done() && tries < 100; tries++ {
					now := capacity * (1 + noise*random.NormFloat64())
					s.learn(s.rate <= now, math.Min(s.rate, now))
				}
				require.InEpsilon(t, capacity, s.low, 0.1)
				require.Less(t, tries, 25)
			})
		}
	}
}

func TestTheSearchEndsWhereNoMoreCanBeOffered(t *testing.T) {
	t.Parallel()
	s := search{rate: 10_000, most: 1e6, precision: 0.05}
	for !s.done() {
		s.learn(true, s.rate)
	}
	require.Equal(t, 1e6, s.low)
}

func TestTheSearchEndsWhereNothingHolds(t *testing.T) {
	t.Parallel()
	s := search{rate: 10_000, most: 1e6, precision: 0.05}
	for range 100 {
		if s.done() {
			break
		}
		s.learn(false, 0)
	}
	require.True(t, s.done())
	require.Zero(t, s.low)
}
