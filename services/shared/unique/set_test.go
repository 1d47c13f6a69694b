package unique

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func encode(t testing.TB, s *Set) []byte {
	t.Helper()
	b, err := s.AppendBinary(nil)
	require.NoError(t, err)
	return b
}

func users(lo, hi int) *Set {
	s := &Set{}
	for i := lo; i < hi; i++ {
		s.Add(Hash(fmt.Sprintf("user-%d", i)))
	}
	return s
}

func TestCountsAreWithinOnePercent(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 1000, few - 1, few, few + 100, 30_000, 70_000, 200_000, 1_000_000, 4_000_000} {
		got := users(0, n).Count()
		require.InDelta(t, n, got, 0.01*float64(n), "of %d", n)
		if n <= few {
			require.InDelta(t, n, got, 1+float64(n)*float64(n)/math.MaxUint32)
		}
	}
}

func TestTheStandardErrorIsWhatIsClaimed(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	const n, tries = 100_000, 60
	sum := 0.0
	for range tries {
		s := &Set{}
		for range n {
			s.Add(random.Uint32())
		}
		e := float64(s.Count())/n - 1
		sum += e * e
	}
	require.InDelta(t, 0.0041, math.Sqrt(sum/tries), 0.0016, "four standard deviations of an estimate from 60 tries")
}

func TestAUserCountsOnceHoweverOftenAndByWhateverWay(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 500, few, few + 1, 100_000} {
		want := encode(t, users(0, n))
		s := users(0, n)
		for range 3 {
			require.NoError(t, s.Merge(want))
		}
		require.Equal(t, want, encode(t, s), "merged with itself, %d", n)

		parts := &Set{}
		const size = 7001
		for lo := n - n%size; lo >= 0; lo -= size { // the other way round, and overlapping
			require.NoError(t, parts.Merge(encode(t, users(lo, min(lo+2*size, n)))))
		}
		require.Equal(t, want, encode(t, parts), "in parts, %d", n)
	}
}

func TestBytesThatAreNoSetAreRefused(t *testing.T) {
	t.Parallel()
	good := encode(t, users(0, 20_000))
	for _, bad := range [][]byte{nil, {}, {0}, {listed, 1}, {listed, 1, 2, 3}, {9, 9, 9, 9}, good[:100], append([]byte{}, append(good, 0)...)} {
		s := users(0, 3)
		require.ErrorIs(t, s.Merge(bad), ErrEncoding)
		require.EqualValues(t, 3, s.Count())
	}
}

func FuzzMerge(f *testing.F) {
	f.Add([]byte{listed, 0, 0, 0, 1})
	f.Add([]byte{listed})
	f.Add([]byte{2, 16, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := users(0, 10)
		if s.Merge(data) == nil {
			require.GreaterOrEqual(t, s.Count(), int64(9))
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	s := &Set{}
	for i := range b.N {
		s.Add(uint32(i) * 2654435761)
	}
}
