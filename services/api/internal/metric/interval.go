package metric

import (
	"fmt"
	"time"

	"weir/services/api/internal/query"
)

// maxBuckets bounds one series: more points than any chart shows. With the most
// groups an answer has 51 times as many.
const maxBuckets = 2000

// interval is the length of a bucket. Weeks, months and time zones will be cases of
// their own: they are not a fixed number of seconds.
type interval string

func (i interval) size() time.Duration {
	switch i {
	case "minute":
		return time.Minute
	case "day":
		return 24 * time.Hour
	default:
		return time.Hour
	}
}

// buckets lists the starts of the buckets that s touches.
func (i interval) buckets(s span) ([]time.Time, error) {
	first := s.from.Truncate(i.size())
	if n := (s.to.Sub(first) + i.size() - 1) / i.size(); n > maxBuckets {
		return nil, query.Invalid("interval", fmt.Sprintf(
			"gives %d buckets, more than the limit of %d: ask for a longer interval, or a range of at most %v",
			n, maxBuckets, maxBuckets*i.size()), string(i))
	}
	var list []time.Time
	for t := first; t.Before(s.to); t = t.Add(i.size()) {
		list = append(list, t)
	}
	return list, nil
}
