package metric

import "time"

// grain is a resolution that the database keeps rollups at.
type grain struct {
	view  string // that shows the counts, what is not folded yet included
	users string // and the users
	size  time.Duration
}

// grains from fine to coarse. Hours and days are UTC's.
var grains = []grain{
	{"minutes", "user_minutes", time.Minute}, {"hours", "user_hours", time.Hour}, {"days", "user_days", 24 * time.Hour},
}

// part is a stretch of a span, and the grain that answers it.
type part struct {
	grain
	span
}

// parts covers s exactly with the coarsest grains up to the largest allowed size:
// for 10:58 to 15:03 by hours, two minutes, four hours and three minutes. A day of
// a busy site is one row per key in days, and 1,440 in minutes.
func (s span) parts(largest time.Duration) []part {
	return cover(s, largest, len(grains)-1)
}

func cover(s span, largest time.Duration, i int) []part {
	if s.empty() {
		return nil
	}
	g := grains[i]
	if i == 0 {
		return []part{{g, s}}
	}
	middle := span{ceil(s.from, g.size), s.to.Truncate(g.size)}
	if g.size > largest || middle.empty() {
		return cover(s, largest, i-1)
	}
	parts := cover(span{s.from, middle.from}, largest, i-1)
	parts = append(parts, part{g, middle})
	return append(parts, cover(span{middle.to, s.to}, largest, i-1)...)
}
