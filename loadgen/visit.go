package loadgen

// This file holds the oracle's answers about sessions. Some began before the run and
// some go on after it: of these it counts the part that was sent.

// WaySteps is how many events a way is followed for.
const WaySteps = 3

// visit is what is kept of one session, 16 bytes. A session's events are made in the
// order of their time, the late ones of a late session too.
type visit struct {
	events, views uint16
	entry, exit   int32               // pages of the first view and the last
	way           [1 + WaySteps]uint8 // types from the first event put in the cart on, each and 1
}

func (v *visit) count(d *deed) {
	v.events++
	if d.kind == typePageView {
		if v.views++; v.views == 1 {
			v.entry = int32(d.path)
		}
		v.exit = int32(d.path)
	}
	for i := range v.way {
		if v.way[i] == 0 {
			if i > 0 || d.kind == typeAddToCart {
				v.way[i] = uint8(d.kind) + 1
			}
			return
		}
	}
}

// SessionCounts is about sessions with at least one event stored.
type SessionCounts struct {
	Sessions int64 `json:"sessions"`
	Events   int64 `json:"events"`
	Bounces  int64 `json:"bounces"` // sessions with one page view, or with one event and no page view
}

// Sessions counts the sessions.
func (o *Oracle) Sessions() (c SessionCounts) {
	for _, v := range o.visits {
		c.Events += int64(v.events)
		if v.events > 0 {
			c.Sessions++
		}
		if v.views == 1 || v.views == 0 && v.events == 1 {
			c.Bounces++
		}
	}
	return c
}

// Pages counts the sessions by the paths of their first page views and of their last.
func (o *Oracle) Pages() (entries, exits map[string]int64) {
	entries, exits = map[string]int64{}, map[string]int64{}
	for _, v := range o.visits {
		if v.views > 0 {
			entries[o.site.pages[v.entry].path]++
			exits[o.site.pages[v.exit].path]++
		}
	}
	return entries, exits
}

// Way is the types of an event and those after it; "" beyond the session's end.
type Way [1 + WaySteps]string

// Ways counts the sessions in which something was put in the cart by what was done from
// the first time on.
func (o *Oracle) Ways() map[Way]int64 {
	numbers := map[[1 + WaySteps]uint8]int64{}
	for _, v := range o.visits {
		numbers[v.way]++
	}
	delete(numbers, [1 + WaySteps]uint8{})
	ways := map[Way]int64{}
	for kinds, n := range numbers {
		var w Way
		for i, kind := range kinds {
			if kind > 0 {
				w[i] = types[kind-1]
			}
		}
		ways[w] = n
	}
	return ways
}
