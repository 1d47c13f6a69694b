package behaviour

import (
	"cmp"
	"math"
	"slices"
)

type named struct {
	hash  hash
	name  string
	count int64
}

// topOf returns the most frequent names, those as frequent as each other by name, and
// the sum of all else, what has no name included.
func topOf(count map[hash]int64, name map[hash]string, limit int) (top []named, other int64) {
	for h, n := range count {
		if h != 0 {
			top = append(top, named{h, name[h], n})
		}
		other += n
	}
	slices.SortFunc(top, func(a, b named) int { return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.name, b.name)) })
	top = top[:min(limit, len(top))]
	for _, t := range top {
		other -= t.count
	}
	return top, other
}

// quantile interpolates in sorted values, as percentile_cont does; 0 without any.
func quantile(sorted []int64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := share * float64(len(sorted)-1)
	below := int(math.Floor(at))
	above := min(below+1, len(sorted)-1)
	return float64(sorted[below]) + (at-float64(below))*float64(sorted[above]-sorted[below])
}
