package behaviour

import (
	"bytes"
	"cmp"
	"slices"
)

// inOrder sorts the events of a slice by time, those of the same time by id.
func inOrder(rows []deed) {
	slices.SortFunc(rows, func(a, b deed) int {
		if a.time != b.time {
			return cmp.Compare(a.time, b.time)
		}
		return bytes.Compare(a.id[:], b.id[:])
	})
}
