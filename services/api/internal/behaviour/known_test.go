package behaviour

import (
	"crypto/sha256"
	"strconv"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestTagsAreKnownOfTheFiltersThatWereKept(t *testing.T) {
	t.Parallel()
	filters := func(names ...string) (list []tagged) {
		for i, name := range names {
			list = append(list, tagged{bit: 2 * i, key: sha256.Sum256([]byte(name))})
		}
		return list
	}
	var known knownTags
	tags := make([]uint16, 150) // bits of several words
	for i := range tags {
		tags[i] = uint16(i%2 | i%3&1<<2)
	}
	require.Nil(t, known.of(filters("a"), len(tags)))
	known.keep(filters("a", "b"), tags)
	require.Equal(t, tags, known.of(filters("a", "b"), len(tags)))
	require.Nil(t, known.of(filters("a", "b", "c"), len(tags)), "all or none")

	// In the bits of another question.
	swapped := known.of(filters("b", "a"), len(tags))
	for i := range tags {
		require.Equal(t, tags[i]>>2|tags[i]&1<<2, swapped[i])
	}

	// Those that were kept last stay, and none is kept twice.
	known.keep(filters("a"), tags)
	for i := range maxKnown - 1 {
		known.keep(filters(strconv.Itoa(i)), tags)
	}
	require.Len(t, known.list, maxKnown)
	require.Nil(t, known.of(filters("b"), len(tags)))
	require.NotNil(t, known.of(filters("a"), len(tags)))
	held := 0
	for _, f := range known.list {
		held += int(unsafe.Sizeof(f)) + 8*cap(f.bits)
	}
	require.Equal(t, knownBytes(len(tags)), held, "what is counted is what they take")
}
