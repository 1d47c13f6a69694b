package loadgen

import (
	"cmp"
	"iter"
	"maps"
	"math"
	"slices"
	"time"
)

// Oracle knows what a correct pipeline must show once it has taken in everything
// that its generator produced: duplicates counted once, malformed items not at
// all, late events in the hour in which they happened. If items were refused and
// never sent again, it knows too much.
//
// With 2,000 pages it needs about 0.2 MB for each hour in which events happen, two
// bits per person and hour, and 6 bytes per event. Like its generator, it is not safe for
// concurrent use.
type Oracle struct {
	profile  Profile
	audience *audience
	site     *catalogue

	counts  Counts
	hours   map[int64]*hour // by Unix time in hours
	current *hour           // where the last event went, because most go there
	unix    int64           // which hour that is
	visits  []visit         // by the session's number
	funnel  funnel
}

// Counts is how many items of each kind were produced.
type Counts struct {
	Fresh     int64 `json:"fresh"`
	Late      int64 `json:"late"`
	Duplicate int64 `json:"duplicate"`
	Malformed int64 `json:"malformed"`
}

// Stored is how many events a correct pipeline holds.
func (c Counts) Stored() int64 { return c.Fresh + c.Late }

// Tally is the count of some events, how many of them came late, and the exact
// sum of their values in millionths.
type Tally struct{ Count, Late, Sum int64 }

func (t *Tally) add(o Tally) {
	t.Count += o.Count
	t.Late += o.Late
	t.Sum += o.Sum
}

// hour counts what happened within one hour.
type hour struct {
	tallies [len(types)][tables][]Tally // by type, then by a name's number in one of four tables
	actors  bitset
}

const (
	tablePath = iota
	tableReferrer
	tableCountry
	tablePlatform
	tables
)

func newOracle(p Profile, a *audience, site *catalogue) *Oracle {
	return &Oracle{profile: p, audience: a, site: site, hours: map[int64]*hour{}, unix: math.MinInt64, funnel: newFunnel(p.Audience.People)}
}

func (o *Oracle) count(d *deed) {
	if o == nil {
		return
	}
	one := Tally{Count: 1, Sum: d.value}
	if d.late {
		one.Late = 1
		o.counts.Late++
	} else {
		o.counts.Fresh++
	}
	if unix := d.time.Unix() / 3600; unix != o.unix {
		o.enter(unix)
	}
	o.current.actors.add(d.actor)
	tallies := &o.current.tallies[d.kind]
	for table, number := range [tables]int{d.path, d.referrer, d.country, d.platform} {
		if grow := number + 1 - len(tallies[table]); grow > 0 {
			tallies[table] = append(tallies[table], make([]Tally, grow)...)
		}
		tallies[table][number].add(one)
	}
	if grow := d.session + 1 - len(o.visits); grow > 0 {
		o.visits = append(o.visits, make([]visit, grow)...)
	}
	o.visits[d.session].count(d)
	o.funnel.count(d)
}

// skip counts an item that must leave no trace.
func (o *Oracle) skip(k Kind) {
	switch {
	case o == nil:
	case k == Duplicate:
		o.counts.Duplicate++
	case k == Malformed:
		o.counts.Malformed++
	}
}

func (o *Oracle) enter(unix int64) {
	h := o.hours[unix]
	if h == nil {
		h = &hour{actors: newBitset(2 * o.profile.Audience.People)}
		o.hours[unix] = h
	}
	o.current, o.unix = h, unix
}

// Counts returns how many items of each kind were produced.
func (o *Oracle) Counts() Counts { return o.counts }

// Key says which events a Tally counts: those of one type within one hour, and
// of these all (Dimension "") or those with one value of one dimension. The
// dimensions are source, path, referrer, country, device, browser and os; events
// that lack one are in none of its tallies.
type Key struct {
	Hour             time.Time // UTC
	Type             string
	Dimension, Value string
}

// Tallies yields every tally that is not zero, by hour and type. Sums over any of
// its keys are exact.
func (o *Oracle) Tallies() iter.Seq2[Key, Tally] {
	return func(yield func(Key, Tally) bool) {
		for _, unix := range slices.Sorted(maps.Keys(o.hours)) {
			for kind, name := range types {
				key := Key{Hour: time.Unix(unix*3600, 0).UTC(), Type: name}
				for _, t := range o.tabulate(&o.hours[unix].tallies[kind]) {
					key.Dimension, key.Value = t.Dimension, t.Value
					if !yield(key, t.Tally) {
						return
					}
				}
			}
		}
	}
}

type row struct {
	Dimension, Value string
	Tally
}

// tabulate names one hour's numbers of one type.
func (o *Oracle) tabulate(tallies *[tables][]Tally) []row {
	type place struct{ dimension, value string }
	named := map[place]Tally{}
	add := func(dimension, value string, t Tally) {
		if t.Count > 0 && (dimension == "" || value != "") {
			at := place{dimension, value}
			sum := named[at]
			sum.add(t)
			named[at] = sum
		}
	}
	for i, t := range tallies[tablePath] {
		add("path", o.site.pages[i].path, t)
	}
	for i, t := range tallies[tableReferrer] {
		add("referrer", o.audience.referrers[i], t)
	}
	for i, t := range tallies[tableCountry] {
		add("", "", t) // every event has a country: these are all
		add("source", o.profile.Source, t)
		add("country", o.audience.countries[i], t)
	}
	for i, t := range tallies[tablePlatform] {
		platform := o.audience.platforms[i]
		add("device", platform.Device, t)
		add("browser", platform.Browser, t)
		add("os", platform.OS, t)
	}
	rows := make([]row, 0, len(named))
	for at, t := range named {
		rows = append(rows, row{at.dimension, at.value, t})
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.Dimension, b.Dimension), cmp.Compare(a.Value, b.Value))
	})
	return rows
}

// Total is the tally of all events.
func (o *Oracle) Total() (total Tally) {
	for _, h := range o.hours {
		for kind := range h.tallies {
			for _, t := range h.tallies[kind][tableCountry] {
				total.add(t)
			}
		}
	}
	return total
}
