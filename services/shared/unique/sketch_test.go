package unique

import (
	"math/rand/v2"
	"testing"

	"github.com/axiomhq/hyperloglog"
	"github.com/stretchr/testify/require"
)

// bytesOf is how both are stored.
func bytesOf(t *testing.T, s *sketch, library *hyperloglog.Sketch) (ours, theirs []byte) {
	t.Helper()
	theirs, err := library.MarshalBinary()
	require.NoError(t, err)
	return append([]byte(header), s[:]...), theirs
}

func TestSketchIsTheLibrarys(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	ours, theirs := new(sketch), hyperloglog.New16NoSparse()
	require.EqualValues(t, theirs.Estimate(), ours.estimate())
	check := func(n int) {
		require.InDelta(t, theirs.Estimate(), ours.estimate(), 1, "with %d", n) // the last bit of a sum
		a, b := bytesOf(t, ours, theirs)
		require.Equal(t, b, a, "with %d", n)
		back, ok := encodedRegisters(b)
		require.True(t, ok)
		require.Equal(t, ours, back)
	}
	for n, next := 0, 1; n < 3_000_000; n++ {
		hash := random.Uint64() >> (random.Uint32() % 64 * (random.Uint32() % 2)) // ranks that are rare, too
		ours.add(hash)
		theirs.InsertHash(hash)
		if n == next {
			check(n)
			next = next*3/2 + 1
		}
	}
}

func TestUnionOfSketchesIsTheLibrarys(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		ours, theirs := new(sketch), hyperloglog.New16NoSparse()
		for range 3 {
			a, b := new(sketch), hyperloglog.New16NoSparse()
			for range random.IntN(200_000) {
				hash := random.Uint64() >> (random.Uint32() % 64 * (random.Uint32() % 2))
				a.add(hash)
				b.InsertHash(hash)
			}
			ours.union(a)
			require.NoError(t, theirs.Merge(b))
		}
		mine, want := bytesOf(t, ours, theirs)
		require.Equal(t, want, mine)
	}
}

func TestRegistersThatNoHashGivesAreRefused(t *testing.T) {
	t.Parallel()
	for value := range 256 {
		encoded := append([]byte(header), make([]byte, registers)...)
		encoded[len(header)+rand.IntN(registers)] = byte(value)
		_, ok := encodedRegisters(encoded)
		require.Equal(t, value <= maxRank, ok, value)
		require.Equal(t, ok, new(hyperloglog.Sketch).UnmarshalBinary(encoded) == nil, value)
	}
}

func BenchmarkSketch(b *testing.B) {
	ours, theirs := [2]sketch{}, [2]*hyperloglog.Sketch{hyperloglog.New16NoSparse(), hyperloglog.New16NoSparse()}
	for i := range 200_000 {
		hash := rand.Uint64()
		ours[i%2].add(hash)
		theirs[i%2].InsertHash(hash)
	}
	b.Run("union, ours", func(b *testing.B) {
		into := new(sketch)
		for b.Loop() {
			*into = ours[0]
			into.union(&ours[1])
		}
	})
	b.Run("union, library", func(b *testing.B) {
		for b.Loop() {
			into := theirs[0].Clone()
			if err := into.Merge(theirs[1]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("look at encoded, ours", func(b *testing.B) {
		encoded := append([]byte(header), ours[0][:]...)
		for b.Loop() {
			if _, ok := encodedRegisters(encoded); !ok {
				b.Fatal("refused")
			}
		}
	})
	b.Run("estimate, ours", func(b *testing.B) {
		for b.Loop() {
			ours[0].estimate()
		}
	})
	b.Run("estimate, library", func(b *testing.B) {
		for b.Loop() {
			theirs[0].Estimate()
		}
	})
}
