package metric

import (
	"iter"
	"time"

	"weir/services/api/internal/span"
	"weir/services/shared/rollup"
)

// grain is a resolution that the database keeps rollups at.
type grain struct {
	folded, foldedUsers string // tables of what is folded of the counts, and of the users
	size                time.Duration
}

// grains from fine to coarse. Hours and days are UTC's.
var grains = []grain{
	{"rollup_minute", "users_minute", time.Minute},
	{"rollup_hour", "users_hour", time.Hour},
	{"rollup_day", "users_day", 24 * time.Hour},
}

// part is a stretch of a span, and the grain that answers it.
type part struct {
	grain
	span.Span
}

// buckets are the starts of the part's buckets.
func (p part) buckets() iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for at := p.From; at.Before(p.To) && yield(at); {
			at = at.Add(p.size)
		}
	}
}

// place is where the block of one of the part's buckets is.
func (p part) place(d rollup.Dimension, bucket time.Time) place {
	return place{int64(p.size / time.Minute), d, bucket.Unix()}
}

// parts covers s exactly with the coarsest grains up to the largest allowed size:
// for 10:58 to 15:03 by hours, two minutes, four hours and three minutes. A day of
// a busy site is one row per key in days, and 1,440 in minutes.
func parts(s span.Span, largest time.Duration) []part {
	return cover(s, largest, len(grains)-1)
}

func cover(s span.Span, largest time.Duration, i int) []part {
	if s.Empty() {
		return nil
	}
	g := grains[i]
	if i == 0 {
		return []part{{g, s}}
	}
	middle := span.Span{From: span.Ceil(s.From, g.size), To: s.To.Truncate(g.size)}
	if g.size > largest || middle.Empty() {
		return cover(s, largest, i-1)
	}
	parts := cover(span.Span{From: s.From, To: middle.From}, largest, i-1)
	parts = append(parts, part{g, middle})
	return append(parts, cover(span.Span{From: middle.To, To: s.To}, largest, i-1)...)
}
