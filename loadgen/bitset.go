package loadgen

import "math/bits"

// bitset is a set of small integers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) add(i int) { b[i/64] |= 1 << (i % 64) }

func (b bitset) has(i int) bool { return b[i/64]>>(i%64)&1 == 1 }

func (b bitset) len() (n int) {
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}

func (b bitset) union(other bitset) {
	for i, word := range other {
		b[i] |= word
	}
}

func (b bitset) without(other bitset) bitset {
	out := make(bitset, len(b))
	for i := range b {
		out[i] = b[i] &^ other[i]
	}
	return out
}

// common is how many elements both hold.
func (b bitset) common(other bitset) (n int) {
	for i, word := range other {
		n += bits.OnesCount64(b[i] & word)
	}
	return n
}
