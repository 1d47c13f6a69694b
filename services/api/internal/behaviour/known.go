package behaviour

import (
	"crypto/sha256"
	"slices"
	"sync"
)

// knownTags remembers of a piece which of its acts filters took: a bit for each. So a funnel
// with a step by a property, asked again, reads the events of the minutes that changed, and not
// those of a day.
type knownTags struct {
	mu   sync.Mutex
	list []knownFilter // the one that was kept last is the last
}

type knownFilter struct {
	key  [sha256.Size]byte // a tagged one's
	bits []uint64          // one for each act
}

// maxKnown is how many filters a piece is remembered with: more than one question has.
const maxKnown = 16

// knownBytes is what they take at most, of a piece of so many acts.
func knownBytes(acts int) int { return maxKnown * (sha256.Size + 24 + 8*words(acts)) }

// words is how many hold a bit for each act.
func words(acts int) int { return (acts + 63) / 64 }

// of returns the tags of all acts, of which there are n; nil unless all filters are known.
func (k *knownTags) of(filters []tagged, n int) []uint16 {
	k.mu.Lock()
	defer k.mu.Unlock()
	known := make([][]uint64, len(filters))
	for i, f := range filters {
		at := k.find(f)
		if at < 0 {
			return nil
		}
		known[i] = k.list[at].bits
	}
	tags := make([]uint16, n)
	for i, bits := range known {
		for act := range tags {
			tags[act] |= uint16(bits[act/64]>>(act%64)&1) << filters[i].bit
		}
	}
	return tags
}

func (k *knownTags) find(f tagged) int {
	return slices.IndexFunc(k.list, func(known knownFilter) bool { return known.key == f.key })
}

// keep remembers what the filters took. The oldest is forgotten when there are too many.
func (k *knownTags) keep(filters []tagged, tags []uint16) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range filters {
		bits := make([]uint64, words(len(tags)))
		for act, t := range tags {
			bits[act/64] |= uint64(t>>f.bit&1) << (act % 64)
		}
		switch at := k.find(f); {
		case at >= 0: // another question asked for it meanwhile
			k.list = slices.Delete(k.list, at, at+1)
		case len(k.list) == maxKnown:
			k.list = slices.Delete(k.list, 0, 1)
		}
		k.list = append(k.list, knownFilter{f.key, bits})
	}
}
