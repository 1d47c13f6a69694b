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
	instead             string // what can be asked for where it is no longer kept
}

// grains from fine to coarse. Hours and days are UTC's.
var grains = []grain{
	{"rollup_minute", "users_minute", time.Minute, "older counts by minute are not kept: ask for a later range, or for whole hours of UTC"},
	{"rollup_hour", "users_hour", time.Hour, "older counts by hour are not kept: ask for a later range, or for whole days of UTC"},
	{"rollup_day", "users_day", day, "older counts are not kept: ask for a later range"},
}

// place is where the block of a bucket is.
func (g grain) place(d rollup.Dimension, bucket time.Time) place {
	return place{int64(g.size / time.Minute), d, bucket.Unix()}
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

// parts covers s exactly with the coarsest grains of which no cell lies in two buckets: for
// 10:58 to 15:03 by two minutes, four hours and three minutes; for the days of a zone that is
// five hours and a half off UTC by 23 hours each, and an hour of minutes between. A day of a
// busy site is one row per key in days, and 1,440 in minutes. Without buckets all of s is one.
func parts(s span.Span, buckets []time.Time) (list []part) {
	from := s.From
	for i := range max(1, len(buckets)) {
		to := s.To
		if i+1 < len(buckets) {
			to = buckets[i+1].UTC()
		}
		list = join(list, cover(span.Span{From: from, To: to}, len(grains)-1))
		from = to
	}
	return list
}

// join appends later parts, and makes one of those that touch.
func join(list, later []part) []part {
	for _, p := range later {
		if last := len(list) - 1; last >= 0 && list[last].grain == p.grain && list[last].To.Equal(p.From) {
			list[last].To = p.To
		} else {
			list = append(list, p)
		}
	}
	return list
}

func cover(s span.Span, i int) []part {
	if s.Empty() {
		return nil
	}
	g := grains[i]
	if i == 0 {
		return []part{{g, s}}
	}
	middle := span.Span{From: span.Ceil(s.From, g.size), To: s.To.Truncate(g.size)}
	if middle.Empty() {
		return cover(s, i-1)
	}
	parts := cover(span.Span{From: s.From, To: middle.From}, i-1)
	parts = append(parts, part{g, middle})
	return append(parts, cover(span.Span{From: middle.To, To: s.To}, i-1)...)
}

// cells is how many buckets the parts have, and how many of these are finer than a day.
func cells(parts []part) (all, fine int) {
	for _, p := range parts {
		n := int(p.Length() / p.size)
		all += n
		if p.size < day {
			fine += n
		}
	}
	return all, fine
}

const day = 24 * time.Hour
