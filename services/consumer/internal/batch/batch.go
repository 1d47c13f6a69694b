// Package batch turns entries of the stream into what one transaction writes: rows
// in PostgreSQL's binary COPY format, dead letters, and rollup deltas. It does no
// I/O. A Batch is used again and again by one writer, so that at full speed next
// to nothing is allocated.
package batch

import (
	"slices"
	"time"

	"weir/services/consumer/internal/stream"
	"weir/services/shared/event"
)

// Batch is what one transaction writes.
type Batch struct {
	Chunks []stream.Chunk
	Rows   []Row
	Dead   []DeadLetter
	Deltas *Deltas

	// Suspect is set when the batch may hold events that are stored already:
	// redelivered ones, or all after a failed attempt whose outcome is unknown.
	Suspect bool
	// Lost is how many connections to the database had broken when last the batch was written:
	// behind a new one may be another state of the database. It lives on, as keys do.
	Lost int64
	// Timeouts counts the attempts to write the batch that ran out of time.
	Timeouts int

	copy    []byte // the rows, one after the other, in COPY's binary format
	entries int
	bytes   int
	now     time.Time // of Decode

	stored    []int // the rows that were inserted, by their index, once recounted
	recounted bool  // whether stored tells; else all rows were
}

// Row is one valid event, encoded.
type Row struct {
	ID         event.UUID
	Time       int64 // microseconds since 2000, as PostgreSQL keeps it
	Chunk      int32 // where the entry is, for a second look at it
	Entry      int32
	start, end int
}

// DeadLetter is an entry that cannot be stored.
type DeadLetter struct {
	Stream string
	Entry  stream.Entry
	Stage  Stage
	Reason string
}

// Stage says where an event failed.
type Stage string

// The stages, in the order of the write path.
const (
	Decode   Stage = "decode"   // not JSON
	Validate Stage = "validate" // breaks a rule of the event contract
	Store    Stage = "store"    // PostgreSQL refused the row
)

// New returns an empty batch.
func New() *Batch { return &Batch{Deltas: newDeltas()} }

// NewUncounted returns an empty batch without deltas.
func NewUncounted() *Batch { return &Batch{} }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.Chunks) // lets go of the payloads
	clear(b.Dead)
	b.Chunks, b.Rows, b.Dead, b.copy = b.Chunks[:0], b.Rows[:0], b.Dead[:0], b.copy[:0]
	b.Suspect, b.Timeouts, b.entries, b.bytes = false, 0, 0, 0
	b.stored, b.recounted = nil, false
	b.Deltas.Reset()
}

// Add takes a chunk in.
func (b *Batch) Add(c stream.Chunk) {
	b.Chunks = append(b.Chunks, c)
	b.Suspect = b.Suspect || c.Redelivered
	b.entries += len(c.Entries)
	for i := range c.Entries {
		b.bytes += len(c.Entries[i].Payload)
	}
}

// Entries is how many entries of the stream the batch holds.
func (b *Batch) Entries() int { return b.entries }

// Traces are those of the requests that brought them, as far as they are traced.
func (b *Batch) Traces() (all []string) {
	for i := range b.Chunks {
		all = append(all, b.Chunks[i].Traces...)
	}
	return all
}

// Bytes is the size of their payloads.
func (b *Batch) Bytes() int { return b.bytes }

// Decode reads and validates all entries, and counts the valid ones. now is the consumer's clock.
func (b *Batch) Decode(now time.Time) {
	b.now = now
	// A row takes two thirds of its JSON. To grow step by step would copy the first batch five times.
	b.copy, b.Rows = slices.Grow(b.copy, b.bytes/4*3), slices.Grow(b.Rows, b.entries)
	var e event.Event
	for c := range b.Chunks {
		chunk := &b.Chunks[c]
		for i := range chunk.Entries {
			entry := &chunk.Entries[i]
			if invalid := parse(&e, entry, now); invalid != nil {
				stage := Validate
				if invalid[0].Field == "" {
					stage = Decode
				}
				b.Dead = append(b.Dead, DeadLetter{chunk.Group.Key, *entry, stage, invalid.Error()})
				continue
			}
			start := len(b.copy)
			b.copy = appendRow(b.copy, &e)
			b.Rows = append(b.Rows, Row{e.ID, pgTime(e.Time), int32(c), int32(i), start, len(b.copy)})
			b.Deltas.Add(&e)
		}
	}
}

func parse(e *event.Event, entry *stream.Entry, now time.Time) event.Invalid {
	if entry.Payload == "" {
		return event.Invalid{{Field: "", Rule: "the stream entry has no field named " + event.Field}}
	}
	return e.Validate(now, e.Parse(entry.Payload))
}

// Entry returns the stream entry that a row came from, and its stream's name.
func (b *Batch) Entry(r Row) (key string, entry stream.Entry) {
	c := &b.Chunks[r.Chunk]
	return c.Group.Key, c.Entries[r.Entry]
}

// Recount makes the deltas anew from the rows really inserted, given by their
// index. The keys' numbers stay known; who was logged does not, as an attempt that
// failed may have been the one to log it.
func (b *Batch) Recount(inserted []int) {
	b.stored, b.recounted = inserted, true
	b.Deltas.recount()
	var e event.Event
	for _, i := range inserted {
		_, entry := b.Entry(b.Rows[i])
		_ = parse(&e, &entry, b.now) // valid: it became a row
		b.Deltas.Add(&e)
	}
}

// Forget gives up what the database was known to hold, and counts all rows again: those
// that it held, and whom it had logged, it may hold no more.
func (b *Batch) Forget() {
	b.Deltas.Forget()
	all := make([]int, len(b.Rows))
	for i := range all {
		all[i] = i
	}
	b.Recount(all)
	b.stored, b.recounted = nil, false
}

// Copy returns rows lo to hi in COPY's binary format, as parts to be sent one
// after the other.
func (b *Batch) Copy(lo, hi int) [][]byte {
	if lo == hi {
		return [][]byte{copyHeader, copyTrailer}
	}
	return [][]byte{copyHeader, b.copy[b.Rows[lo].start:b.Rows[hi-1].end], copyTrailer}
}
