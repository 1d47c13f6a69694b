package behaviour

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/maypok86/otter/v2"

	"weir/services/api/internal/filter"
)

// memory keeps the events that questions read, by hours and minutes, so that whoever
// asks the next question about them, with other steps perhaps, need not wait for PostgreSQL
// to send them all again: of a day of 1.8 million, sessions took 1.9 s when they were read
// first, and 0.2 s after.
//
// Events are only ever added, and each is counted in the transaction that adds it. So a
// piece of which the rollups tell as many events as when it was read has the same ones,
// unless rollups were made anew meanwhile; and a piece that has others is read again.
// Both are told by the snapshot that answers the question: the answer is the same as
// without a memory.
type memory struct {
	acts *otter.Cache[place, *acts]
	most int64 // events of one question: as many as take three quarters of the memory
}

// place is where acts are: a piece, from a Unix time on, and which of its events.
type place struct {
	from    int64
	minutes int32
	filter  string
}

func (p *piece) place(filter string) place { return place{p.Start.Unix(), p.Minutes, filter} }

// actSize is what an event takes, with its share of what is in common, on a web shop of 70,000
// an hour (BenchmarkMemory).
const actSize = 34

// mostOfPiece is up to how many events a piece is remembered with. More are 34 MB.
const mostOfPiece = 1_000_000

// newMemory keeps size bytes at most; nothing when that is 0.
func newMemory(size uint64) *memory {
	return &memory{
		acts: otter.Must(&otter.Options[place, *acts]{
			MaximumWeight: max(size, 1), Weigher: func(_ place, a *acts) uint32 { return a.bytes() },
		}),
		most: int64(size / 4 * 3 / actSize),
	}
}

// shortest is how long a stretch is remembered. Shorter ones are soon read, but not the
// whole hours that they begin and end in.
const shortest = 4 * time.Hour

// holds reports whether a stretch of these pieces is worth remembering: events that would
// only make each other forgotten are not.
func (m *memory) holds(long time.Duration, pieces []piece) bool {
	events := int64(0)
	if long < shortest {
		return false
	}
	for _, p := range pieces {
		if events += p.Events; p.Events > mostOfPiece {
			return false
		}
	}
	return events <= m.most
}

// fromMemory cuts the stretch between pieces into parts that are remembered and parts to
// be read and remembered, each of about as many events as a slice.
func fromMemory[T any](m *memory, r *reading[T], pieces []piece, recent time.Time) (parts []part[T]) {
	which := r.where // of the events that are remembered
	if which.Within(remembered...) {
		which = filter.Expr{} // kinds tell
	}
	s := scan{columns: foundColumns}
	s.condition = which.SQL(s.arg)
	key := s.condition + fmt.Sprintf(" %q", s.args)
	told := map[int64]piece{}
	for _, p := range pieces {
		told[p.Start.Unix()] = p
	}
	var run []piece
	var known []*acts
	var events int64
	end := func() {
		switch {
		case known != nil:
			list := known
			parts = append(parts, func(ctx context.Context, tx pgx.Tx, into []T) (iter.Seq[*T], []T, error) {
				return r.retell(ctx, tx, list, into)
			})
		case run != nil:
			parts = append(parts, r.read(m, s, key, run))
		}
		run, known, events = nil, nil, 0
	}
	for at := r.from.Truncate(time.Hour); at.Before(r.to); {
		p, ok := told[at.Unix()]
		if !ok {
			p.Start, p.Minutes = at, 60
			if at.Truncate(time.Hour).Equal(recent) {
				p.Minutes = 1
			}
		}
		a, kept := m.acts.GetIfPresent(p.place(key))
		kept = kept && ok && a.Events == p.Events && a.Rebuilds == p.Rebuilds
		if events += p.Events; events > sliceRows || kept == (run != nil) {
			end()
			events = p.Events
		}
		if kept {
			known = append(known, a)
		} else {
			run = append(run, p)
		}
		at = p.end()
	}
	end()
	return parts
}

// retell makes rows of what is remembered, one at a time: they are as many as the events,
// and are in order already.
func (r *reading[T]) retell(ctx context.Context, tx pgx.Tx, list []*acts, into []T) (iter.Seq[*T], []T, error) {
	tags, err := r.tags(ctx, tx, list)
	if errors.Is(err, errAlike) {
		return r.fromSlice(ctx, tx, r.within(list), into)
	}
	if err != nil {
		return nil, nil, err
	}
	which := r.where
	if !which.Within(remembered...) {
		which = filter.Expr{} // what is remembered are these events only
	}
	type teller struct {
		acts  []act
		tags  []uint16
		taken []bool
		fill  func(*act, uint16, *T) bool
	}
	tellers := make([]teller, len(list))
	for i, a := range list {
		fill, err := r.recall(a)
		if err != nil {
			return nil, nil, err
		}
		from, to := a.at(r.from.UnixMicro()), a.at(r.to.UnixMicro())
		tellers[i] = teller{acts: a.list[from:to], taken: a.taken(which), fill: fill}
		if tags != nil {
			tellers[i].tags = tags[i][from:to]
		}
	}
	return func(yield func(*T) bool) {
		var row T
		for _, t := range tellers {
			for i := range t.acts {
				tag := uint16(0)
				if t.tags != nil {
					tag = t.tags[i]
				}
				if t.taken[t.acts[i].kind] && t.fill(&t.acts[i], tag, &row) && !yield(&row) {
					return
				}
			}
		}
	}, into, nil
}

// read reads pieces that follow each other, and remembers those that were told of.
func (r *reading[T]) read(m *memory, s scan, key string, pieces []piece) part[T] {
	return func(ctx context.Context, tx pgx.Tx, into []T) (iter.Seq[*T], []T, error) {
		var all common
		events := int64(0)
		for _, p := range pieces {
			events += p.Events
		}
		first, end := pieces[0].Start, pieces[len(pieces)-1].end()
		rows, err := fill(ctx, tx, s.sql(), append(slices.Clone(s.args), first, end), make([]found, 0, events), finder(&all))
		if err != nil {
			return nil, nil, err
		}
		list := gather(pieces, rows, all)
		for _, a := range list {
			// Of a piece without counts nobody tells whether it changed.
			if a.Events > 0 {
				m.acts.Set(a.place(key), a)
			}
		}
		return r.retell(ctx, tx, list, into)
	}
}
