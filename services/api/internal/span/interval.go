package span

import (
	"fmt"
	"time"
	_ "time/tzdata" // zones are known on machines that have no files of them

	"weir/services/api/internal/query"
)

// MaxBuckets bounds one series: more points than any chart shows.
const MaxBuckets = 2000

// Interval is the length of a bucket: minute, hour, day, week or month.
type Interval string

// shortest is how long an interval lasts at least, for counting them.
var shortest = map[Interval]time.Duration{
	"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 28 * 24 * time.Hour,
}

// Zone finds a time zone by its IANA name; "" is UTC. The error is a 422 problem.
func Zone(name string) (*time.Location, error) {
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, query.Invalid("timezone", "must be a time zone's IANA name, such as Europe/Berlin", name)
	}
	return loc, nil
}

// Buckets lists the starts of the buckets that s touches, ascending, in loc. Days,
// weeks (from Monday) and months begin when that day does there: a day has 23 or 25
// hours when the clocks change. More than MaxBuckets are a 422 problem.
func (i Interval) Buckets(s Span, loc *time.Location) ([]time.Time, error) {
	if n := (s.Length() + shortest[i] - 1) / shortest[i]; n > MaxBuckets {
		return nil, query.Invalid("interval", fmt.Sprintf(
			"gives %d buckets, more than the limit of %d: ask for a longer interval, or a range of at most %v",
			n, MaxBuckets, MaxBuckets*shortest[i]), string(i))
	}
	var list []time.Time
	for t := i.start(s.From.In(loc)); t.Before(s.To); {
		next := i.next(t)
		if next.After(s.From) {
			list = append(list, t)
		}
		t = next
	}
	return list, nil
}

// start is where the bucket of t begins, or one shortly before it.
func (i Interval) start(t time.Time) time.Time {
	y, m, d := t.Date()
	switch i {
	case "minute":
		return t.Truncate(time.Minute)
	case "hour":
		return t.Truncate(time.Minute).Add(-time.Duration(t.Minute()) * time.Minute)
	case "week":
		return midnight(y, m, d-(int(t.Weekday())+6)%7, t.Location())
	case "month":
		return midnight(y, m, 1, t.Location())
	default:
		return midnight(y, m, d, t.Location())
	}
}

// next is where the bucket that begins at t ends. An hour ends with the hand of the
// local clock: some zones are half an hour off, or shift by one.
func (i Interval) next(t time.Time) time.Time {
	y, m, d := t.Date()
	days := 1
	switch i {
	case "minute":
		return t.Add(time.Minute)
	case "hour":
		return t.Add(time.Hour - time.Duration(t.Minute())*time.Minute)
	case "week":
		days = 7
	case "month":
		return midnight(y, m+1, 1, t.Location())
	}
	next := midnight(y, m, d+days, t.Location())
	for ; !next.After(t); days++ { // a day that a zone left out, as Samoa did one
		next = midnight(y, m, d+days+1, t.Location())
	}
	return next
}

// midnight is the first instant of a date in loc. Where the clocks change at midnight
// there may be none, or two: which one time.Date would choose is not stated.
func midnight(y int, m time.Month, d int, loc *time.Location) time.Time {
	wall := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	_, before := wall.Add(-24 * time.Hour).In(loc).Zone()
	_, after := wall.Add(24 * time.Hour).In(loc).Zone()
	first := wall.Add(-time.Duration(max(before, after)) * time.Second).In(loc)
	ly, lm, ld := first.Date()
	if time.Date(ly, lm, ld, 0, 0, 0, 0, time.UTC).Before(wall) {
		return wall.Add(-time.Duration(min(before, after)) * time.Second).In(loc)
	}
	return first
}
