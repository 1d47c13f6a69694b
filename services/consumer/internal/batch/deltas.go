package batch

import (
	"encoding/binary"
	"math"
	"slices"

	"weir/services/shared/event"
	"weir/services/shared/rollup"
	"weir/services/shared/unique"
)

// maxKeys bounds the memory of one writer's counters: about 200 bytes each. Past it
// all are forgotten, and the busy ones come back with the next batch.
const maxKeys = 50_000

// Deltas counts a batch's events by rollup key and minute, and lists their users, and
// by type their sessions.
//
// A key's counter lives on from batch to batch, with the number that the database
// knows it by, so that an event costs one look-up per dimension and a batch resolves
// only keys it has never seen. A counter counts into one line, of one minute, at a
// time: events come nearly in order, and the delta log may hold several lines for one
// key and minute.
//
// A nil Deltas counts nothing.
type Deltas struct {
	lines     []line
	sightings []sighting // of users
	sessions  []sighting // of sessions, with lines of All
	logged    *seen
	kinds     map[string]*kind
	keys      int // of all kinds together
}

// kind has the counters of one event type.
type kind struct {
	name   string
	number uint32 // among this writer's kinds, from 1 on
	by     [rollup.Dimensions]map[string]*counter
	recent [rollup.Dimensions][recents]*counter
}

// recents is how many counters of a dimension are found without its map, as most of them are:
// sources, devices or browsers are few. Of more, each place has the last one. Counting an event takes
// 197 ns with it, and 254 without (BenchmarkDeltas, medians of seven, alternated).
const recents = 32

func (k *kind) counter(dimension rollup.Dimension, of string) *counter {
	place := &k.recent[dimension][hint(of)%recents]
	if c := *place; c != nil && c.key.Value == of {
		return c
	}
	c := k.by[dimension][of]
	if c != nil {
		*place = c
	}
	return c
}

// hint tells short texts from each other, mostly, in less time than a hash.
func hint(s string) uint {
	n := uint(len(s))
	if n == 0 {
		return 0
	}
	return n + 3*uint(s[0]) + 5*uint(s[n-1]) + 7*uint(s[n/2])
}

type counter struct {
	key    rollup.Key
	number uint32 // among this writer's counters, from 1 on
	id     int32  // rollup_keys.id; 0 while unknown
	line   int32  // index of its newest line in the batch, plus one; 0 without
}

type line struct {
	counter *counter
	minute  int32
	seen    [2]int32 // sightings of this line, by kindOfSet
	events  int64
	value   int64
}

// kindOfSet is of whom a set is.
type kindOfSet int

const (
	users kindOfSet = iota
	sessions
)

// sighting is a user, or a session, that is to be logged with a line.
type sighting struct {
	line int32
	who  uint32 // its hash
}

func newDeltas() *Deltas {
	return &Deltas{logged: new(seen), kinds: map[string]*kind{}}
}

// Reset forgets the counts, and the keys too when they have become too many.
func (d *Deltas) Reset() {
	if d == nil {
		return
	}
	d.clear()
	if d.keys > maxKeys {
		*d = *newDeltas()
	}
}

// recount forgets the counts, and who was logged.
func (d *Deltas) recount() {
	if d == nil {
		return
	}
	d.clear()
	*d.logged = seen{}
}

// clear forgets the counts only.
func (d *Deltas) clear() {
	for i := range d.lines {
		d.lines[i].counter.line = 0
	}
	clear(d.lines)
	d.lines, d.sightings, d.sessions = d.lines[:0], d.sightings[:0], d.sessions[:0]
}

// Forget gives up what the database was known to hold: the keys' numbers, and who was
// logged. After an outage it may be another database, or an older state of it.
func (d *Deltas) Forget() {
	if d == nil {
		return
	}
	for _, k := range d.kinds {
		for _, counters := range k.by {
			for _, c := range counters {
				c.id = 0
			}
		}
	}
	*d.logged = seen{}
}

// Add counts one event.
func (d *Deltas) Add(e *event.Event) {
	if d == nil {
		return
	}
	minute := int32(e.Time.Unix() / 60)
	user := unique.Hash(e.Actor())
	k := d.kinds[e.Type]
	if k == nil {
		k = &kind{name: clone(e.Type), number: uint32(len(d.kinds)) + 1}
		d.kinds[k.name] = k
	}
	visit := d.logged.of(k.number, minute, user)
	all := d.count(k, rollup.All, "", minute, e.Value, visit)
	if e.SessionID != "" {
		if session := unique.Hash(e.SessionID); visit.addSession(session) {
			d.sessions = append(d.sessions, sighting{all, session})
			d.lines[all].seen[sessions]++
		}
	}
	for i := rollup.Path; int(i) < rollup.Dimensions; i++ {
		if value := i.Of(e); value != "" {
			d.count(k, i, value, minute, e.Value, visit)
		}
	}
}

// count adds to the line of a key, and returns the line's index.
func (d *Deltas) count(k *kind, dimension rollup.Dimension, of string, minute int32, value int64, by *visit) int32 {
	c := k.counter(dimension, of)
	if c == nil {
		of = clone(of) // the payload must not live on in the key
		c = &counter{key: rollup.Key{Dimension: dimension, Type: k.name, Value: of}, number: uint32(d.keys) + 1}
		if k.by[dimension] == nil {
			k.by[dimension] = map[string]*counter{}
		}
		k.by[dimension][of] = c
		d.keys++
	}
	var l *line
	if c.line > 0 {
		l = &d.lines[c.line-1]
	}
	if l == nil || l.minute != minute || overflows(l.value, value) {
		d.lines = append(d.lines, line{counter: c, minute: minute})
		c.line = int32(len(d.lines))
		l = &d.lines[c.line-1]
	}
	l.events++
	l.value += value
	if by.add(dimension, c.number) {
		d.sightings = append(d.sightings, sighting{c.line - 1, by.user})
		l.seen[users]++
	}
	return c.line - 1
}

func overflows(a, b int64) bool { return b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b }

func clone(s string) string { return string([]byte(s)) }

// Unresolved lists the keys of the lines whose number is not known.
func (d *Deltas) Unresolved() (keys []rollup.Key) {
	if d == nil {
		return nil
	}
	asked := map[*counter]bool{}
	for i := range d.lines {
		if c := d.lines[i].counter; c.id == 0 && !asked[c] {
			asked[c] = true
			keys = append(keys, c.key)
		}
	}
	return keys
}

// Resolve tells the number of a key.
func (d *Deltas) Resolve(k rollup.Key, id int32) {
	if kind := d.kinds[k.Type]; kind != nil {
		if c := kind.by[k.Dimension][k.Value]; c != nil {
			c.id = id
		}
	}
}

// Len is the number of lines.
func (d *Deltas) Len() int {
	if d == nil {
		return 0
	}
	return len(d.lines)
}

// List returns the lines of the minutes from since on in words, for the live feed.
func (d *Deltas) List(since int32) []rollup.Delta {
	list := make([]rollup.Delta, 0, len(d.lines))
	for _, l := range d.lines {
		if l.minute >= since {
			list = append(list, rollup.Delta{Minute: l.minute, Key: l.counter.key, Events: l.events, Value: l.value})
		}
	}
	return list
}

// DeltaColumns are the columns of rollup_deltas that AppendCopy fills, in order.
const DeltaColumns = "minute, key_id, events, dimension, value"

// AppendCopy appends the lines in COPY's binary format.
func (d *Deltas) AppendCopy(dst []byte) []byte {
	dst = append(dst, copyHeader...)
	for i := range d.lines {
		l := &d.lines[i]
		dst = append(dst, 0, 5, 0, 0, 0, 4)
		dst = binary.BigEndian.AppendUint32(dst, uint32(l.minute))
		dst = append(dst, 0, 0, 0, 4)
		dst = binary.BigEndian.AppendUint32(dst, uint32(l.counter.id))
		dst = append(dst, 0, 0, 0, 4)
		dst = binary.BigEndian.AppendUint32(dst, uint32(l.events))
		dst = append(dst, 0, 0, 0, 2)
		dst = binary.BigEndian.AppendUint16(dst, uint16(l.counter.key.Dimension))
		dst = append(dst, 0, 0, 0, 8)
		dst = binary.BigEndian.AppendUint64(dst, uint64(l.value))
	}
	return append(dst, copyTrailer...)
}

// UserColumns are the columns of rollup.UserLogs that AppendUsersCopy fills, in order.
const UserColumns = "minute, key_id, dimension, users"

// AppendUsersCopy appends the lines' users, and their sessions, as sets in COPY's binary
// format, for each of rollup.UserLogs. Lines whose users have all been logged before are
// left out; a log for which that leaves none is returned empty.
func (d *Deltas) AppendUsersCopy(dst [2][]byte) [2][]byte {
	if d == nil {
		return dst
	}
	for i := range dst {
		dst[i] = append(dst[i], copyHeader...)
	}
	d.appendSets(&dst, users)
	d.appendSets(&dst, sessions)
	for i := range dst {
		if len(dst[i]) == len(copyHeader) {
			dst[i] = dst[i][:0]
			continue
		}
		dst[i] = append(dst[i], copyTrailer...)
	}
	return dst
}

func (d *Deltas) appendSets(dst *[2][]byte, of kindOfSet) {
	sightings := d.sightings
	if of == sessions {
		sightings = d.sessions
	}
	at := make([]int, len(d.lines)) // where a line's next member goes
	for i := range d.lines {
		l := &d.lines[i]
		n := int(l.seen[of])
		if n == 0 {
			continue
		}
		dimension := l.counter.key.Dimension
		if of == sessions {
			dimension = rollup.Sessions // under All's key
		}
		log := dst[dimension.UserLog()]
		log = append(log, 0, 4, 0, 0, 0, 4)
		log = binary.BigEndian.AppendUint32(log, uint32(l.minute))
		log = append(log, 0, 0, 0, 4)
		log = binary.BigEndian.AppendUint32(log, uint32(l.counter.id))
		log = append(log, 0, 0, 0, 2)
		log = binary.BigEndian.AppendUint16(log, uint16(dimension))
		log = binary.BigEndian.AppendUint32(log, uint32(1+4*n))
		log = unique.AppendHeader(log)
		at[i] = len(log)
		dst[dimension.UserLog()] = slices.Grow(log, 4*n)[:len(log)+4*n]
	}
	for _, s := range sightings {
		log := dst[d.lines[s.line].counter.key.Dimension.UserLog()]
		binary.BigEndian.PutUint32(log[at[s.line]:], s.who)
		at[s.line] += 4
	}
}
