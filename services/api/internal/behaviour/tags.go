package behaviour

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/filter"
)

// tagged is a filter that asks for more than what is remembered tells. The table says which
// events it takes, and these are tagged with a bit: a funnel with one step by a property reads
// the few events of that step, and not all that its other steps are about.
type tagged struct {
	bit    int
	filter filter.Expr
	key    [sha256.Size]byte // of the events that it and the question's filter take
}

// tell has filters, by their bits, tagged that what is remembered cannot tell of.
func (r *reading[T]) tell(filters ...filter.Expr) {
	for bit, f := range filters {
		if !f.Within(remembered...) {
			var s scan
			sql := filter.And(r.where, f).SQL(s.arg)
			r.tagged = append(r.tagged, tagged{bit, f, sha256.Sum256(fmt.Appendf(nil, "%s %q", sql, s.args))})
		}
	}
}

// sighting is an event that a filter takes.
type sighting struct {
	time int64 // microseconds since 1970
	who  hash
	tags uint16
}

// errAlike is returned when a user did several things in the same microsecond, of which
// filters do not take all: they cannot be told from each other.
var errAlike = errors.New("events are alike")

// tags tells the tags of what is remembered of pieces that follow each other; nil is none. The
// pieces that are not known to have been asked about are asked for in the snapshot that says
// that they are as they were when they were read.
func (r *reading[T]) tags(ctx context.Context, tx pgx.Tx, list []*acts) ([][]uint16, error) {
	if len(r.tagged) == 0 {
		return nil, nil
	}
	tags := make([][]uint16, len(list))
	first, end := len(list), 0 // of what is not known
	for i, a := range list {
		if tags[i] = a.tags.of(r.tagged, len(a.list)); tags[i] == nil {
			first, end = min(first, i), i+1
		}
	}
	if first < end {
		found, err := r.sightings(ctx, tx, list[first:end])
		if err != nil {
			return nil, err
		}
		asked, err := tag(list[first:end], found)
		if err != nil {
			return nil, err
		}
		for i, a := range list[first:end] {
			tags[first+i] = asked[i]
			a.tags.keep(r.tagged, asked[i])
		}
	}
	return tags, nil
}

// sightings asks for what the filters take of whole pieces.
func (r *reading[T]) sightings(ctx context.Context, tx pgx.Tx, list []*acts) ([]sighting, error) {
	var s scan
	any, all := []filter.Expr{}, slices.Repeat([]string{"false"}, maxTags)
	for _, t := range r.tagged {
		all[t.bit] = t.filter.SQL(s.arg)
		any = append(any, t.filter)
	}
	which := filter.And(r.where, filter.Or(any...))
	s.columns = "time, " + actor + ", " + mask(all...)
	s.condition = which.SQL(s.arg)
	if early := which.Needs(remembered...); !early.All() {
		s.early = early.SQL(s.arg)
	}
	return fill(ctx, tx, s.sql(), append(s.args, list[0].Start, list[len(list)-1].end()), nil, func(s *sighting, raw [][]byte) error {
		s.time, s.who, s.tags = micros(raw[0]), hashOf(raw[1]), binary.BigEndian.Uint16(raw[2])
		return nil
	})
}

// maxTags is how many bits tags have: those of an int2 but its sign. A funnel has ten steps.
const maxTags = 15

// within is what of the stretch lies in pieces that follow each other.
func (r *reading[T]) within(list []*acts) slice {
	s := slice{r.from, r.to}
	if first := list[0].Start; first.After(s.from) {
		s.from = first
	}
	if end := list[len(list)-1].end(); end.Before(s.to) {
		s.to = end
	}
	return s
}

// tag finds each event among the acts by its time and user. The error is errAlike.
func tag(list []*acts, found []sighting) ([][]uint16, error) {
	tags := make([][]uint16, len(list))
	ends := make([]int64, len(list))
	for i, a := range list {
		tags[i], ends[i] = make([]uint16, len(a.list)), a.end().UnixMicro()
	}
	type moment struct {
		time int64
		who  hash
	}
	var same []int
	several := map[moment][]uint16{} // what was found of several acts
	for _, f := range found {
		i := sort.Search(len(list), func(i int) bool { return f.time < ends[i] })
		if i == len(list) {
			return nil, errAlike
		}
		same = list[i].same(same[:0], f.time, f.who)
		switch len(same) {
		case 0:
			return nil, errAlike
		case 1:
			tags[i][same[0]] = f.tags
			continue
		}
		at := moment{f.time, f.who}
		several[at] = append(several[at], f.tags)
		for _, k := range same {
			tags[i][k] = f.tags
		}
	}
	for at, all := range several {
		i := sort.Search(len(list), func(i int) bool { return at.time < ends[i] })
		if same = list[i].same(same[:0], at.time, at.who); len(same) != len(all) || slices.Min(all) != slices.Max(all) {
			return nil, errAlike
		}
	}
	return tags, nil
}
