package metric

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSumsAreOfAllBlocksWhateverTheirKeys(t *testing.T) {
	t.Parallel()
	for range 500 {
		var s sums
		want := map[int32]tally{}
		for range rand.N(6) {
			var b block
			for key := range int32(40) {
				if rand.N(3) == 0 {
					one := tally{key, rand.N(int64(9)), rand.N(int64(9))}
					b.tallies = append(b.tallies, one)
					was := want[key]
					want[key] = tally{key, was.events + one.events, was.value + one.value}
				}
			}
			before := slices.Clone(b.tallies)
			s.add(&b)
			require.Equal(t, before, b.tallies, "a block is remembered")
		}
		var list []tally
		for _, one := range want {
			list = append(list, one)
		}
		slices.SortFunc(list, func(a, b tally) int { return cmp.Compare(a.key, b.key) })
		require.Equal(t, list, s.list)
	}
}
