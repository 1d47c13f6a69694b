// Package unique counts distinct users. A set keeps the hashes of its users while they
// are few, and becomes a HyperLogLog sketch when they are many; both can be merged, in
// any order and any number of times, so a user who is added twice counts once.
//
// Up to 16,384 users the count is exact but for collisions of 32-bit hashes, 0.2% of
// the users at worst. Beyond, the standard error is 1.04/√65536 = 0.41% (Flajolet et
// al., HyperLogLog, 2007): 98 of 100 counts are within 1%.
//
// A set depends on nothing but who is in it, so two sets of the same users have the
// same bytes, however they came about.
package unique

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Up to Exact members a set counts them; beyond, it estimates with StandardError.
const (
	Exact         = few
	StandardError = 0.0041
)

const (
	// few is how many hashes a set keeps as they are: what takes as much room as a sketch.
	few = 1 << 14

	// listed is the first byte of an encoded list of hashes. A sketch begins with another.
	listed = 1
)

// ErrEncoding is returned for bytes that are not a set.
var ErrEncoding = errors.New("not an encoded set of users")

// Hash is what a set keeps of a user: the first half of XXH64, the same on every
// machine and for ever, because sets are stored.
func Hash(actor string) uint32 { return uint32(xxhash.Sum64String(actor) >> 32) }

// Set is a set of users. The zero value is empty.
type Set struct {
	hashes []uint32 // nil once there is a sketch
	sorted int      // how many of them are in ascending order, each once; those after are as they came
	sketch *sketch
}

// Add adds a user by its hash.
func (s *Set) Add(hash uint32) {
	if s.sketch != nil {
		s.sketch.add(stretch(hash))
		return
	}
	n := len(s.hashes)
	if s.sorted == n && (n == 0 || s.hashes[n-1] < hash) {
		s.sorted++
	}
	if s.hashes = append(s.hashes, hash); n+1 >= 4*few {
		s.Tidy()
	}
}

// Merge adds the users of an encoded set. The error is ErrEncoding, and then the set is
// as it was.
func (s *Set) Merge(encoded []byte) error {
	if len(encoded) == 0 {
		return ErrEncoding
	}
	if encoded[0] != listed {
		other, ok := encodedRegisters(encoded)
		if !ok {
			return ErrEncoding
		}
		s.become()
		s.sketch.union(other)
		return nil
	}
	if len(encoded)%4 != 1 {
		return ErrEncoding
	}
	list := encoded[1:]
	mine := s.hashes
	larger := s.sketch == nil && len(list)/4 > len(mine)
	if larger {
		// Encoded lists are in order, which is kept when the larger one comes first.
		s.hashes, s.sorted = make([]uint32, 0, len(list)/4+len(mine)), 0
	}
	for ; len(list) > 0; list = list[4:] {
		s.Add(binary.BigEndian.Uint32(list))
	}
	if larger {
		s.addAll(mine)
	}
	return nil
}

// Union adds the users of another set.
func (s *Set) Union(o *Set) {
	if o.sketch != nil {
		s.become()
		s.sketch.union(o.sketch)
		return
	}
	add := o.hashes
	if s.sketch == nil && len(add) > len(s.hashes) { // the larger one first, as above
		add = s.hashes
		s.hashes, s.sorted = append(make([]uint32, 0, len(o.hashes)+len(add)), o.hashes...), o.sorted
	}
	s.addAll(add)
}

func (s *Set) addAll(hashes []uint32) {
	for _, h := range hashes {
		s.Add(h)
	}
}

// Count returns how many users are in the set; see the package for how exactly.
func (s *Set) Count() int64 {
	if s.Tidy(); s.sketch != nil {
		return s.sketch.estimate()
	}
	return int64(len(s.hashes))
}

// Size returns about how many bytes of memory the set takes.
func (s *Set) Size() int {
	if s.sketch != nil {
		return registers
	}
	return 4 * cap(s.hashes)
}

// AppendBinary appends the encoded set: a byte 1 and the hashes in ascending order,
// four bytes each, the highest first; or a sketch. It returns no error; the signature
// is encoding.BinaryAppender's.
func (s *Set) AppendBinary(dst []byte) ([]byte, error) {
	if s.Tidy(); s.sketch != nil {
		return append(append(dst, header...), s.sketch[:]...), nil
	}
	dst = AppendHeader(dst)
	for _, h := range s.hashes {
		dst = binary.BigEndian.AppendUint32(dst, h)
	}
	return dst, nil
}

// AppendHeader begins an encoded set that is written by hand: any number of hashes
// follow, in any order.
func AppendHeader(dst []byte) []byte { return append(dst, listed) }

// Tidy puts the hashes in order, each once, and makes a sketch of what is more than few.
// Counting and encoding do so first; after it, many may do both at once.
// A set that grew a little is large and in order but for its end: that is sorted, and
// merged with the rest.
func (s *Set) Tidy() {
	if s.sorted < len(s.hashes) {
		base, end := s.hashes[:s.sorted], s.hashes[s.sorted:]
		slices.Sort(end)
		merged := make([]uint32, 0, len(s.hashes))
		for i := 0; len(end) > 0; end = end[1:] {
			for i < len(base) && base[i] < end[0] {
				i++
			}
			merged = append(merged, base[:i]...)
			base, i = base[i:], 0
			if (len(base) == 0 || base[0] != end[0]) && (len(merged) == 0 || merged[len(merged)-1] != end[0]) {
				merged = append(merged, end[0])
			}
		}
		s.hashes = append(merged, base...)
		s.sorted = len(s.hashes)
	}
	if len(s.hashes) > few {
		s.become()
	}
}

// become makes the set a sketch.
func (s *Set) become() {
	if s.sketch != nil {
		return
	}
	s.sketch = new(sketch)
	for _, h := range s.hashes {
		s.sketch.add(stretch(h))
	}
	s.hashes, s.sorted = nil, 0
}

// stretch makes the 64 bits that a sketch wants. It looks at the first 16 for a
// register's number and at those after for leading zeros, so the hash goes first, and
// its own scrambled bits (the finalizer of MurmurHash3) after it: only when its last
// 16 bits are all zero are they looked at.
func stretch(hash uint32) uint64 {
	h := hash
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	h ^= h >> 16
	return uint64(hash)<<32 | uint64(h)
}
