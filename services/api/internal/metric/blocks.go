package metric

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/decimal"
	"weir/services/shared/rollup"
)

// place is where a block is: a bucket of a grain, and one dimension of it.
type place struct {
	minutes   int64 // of the grain
	dimension rollup.Dimension
	bucket    int64 // Unix time
}

// block is the counts of all keys of a place.
type block struct {
	version
	tallies []tally
	// large has the few sums that might overflow when they are added up.
	large map[int32]decimal.Micros
}

type tally struct {
	key    int32
	events int64
	value  int64 // millionths
}

// small bounds the sums that are added up as 64 bits, of up to 92,000 blocks.
const small = "100000000000000"

func (b *block) bytes() uint32 { return uint32(100 + 24*cap(b.tallies) + 100*len(b.large)) }

// totals counts each key of a dimension over the whole range: from blocks, of which those
// that changed are read, and from what is not folded yet.
func (r rollups) totals(ctx context.Context, d rollup.Dimension) (*sums, error) {
	parts := parts(r.Span, 24*time.Hour)
	current, err := versions(ctx, r.tx, parts)
	if err != nil {
		return nil, err
	}
	all := &sums{at: map[int32]int{}, large: map[int32]decimal.Micros{}}
	for _, p := range parts {
		missing := map[int64]*block{}
		for bucket := range p.buckets() {
			b, ok := r.memory.blocks.GetIfPresent(p.place(d, bucket))
			if v := current(p, bucket); !ok || b.version != v {
				missing[bucket.Unix()] = &block{version: v}
				continue
			}
			all.add(b)
		}
		if err := r.readBlocks(ctx, p, d, missing); err != nil {
			return nil, err
		}
		for bucket, b := range missing {
			r.memory.blocks.Set(p.place(d, time.Unix(bucket, 0)), b)
			all.add(b)
		}
	}
	var unfolded block
	rows, err := r.tx.Query(ctx, `SELECT 0, key_id, sum(events)::bigint, `+value("sum(value)")+`
		FROM rollup_deltas WHERE dimension = $1 AND minute >= $2 AND minute < $3 GROUP BY key_id`,
		int16(d), r.From.Unix()/60, r.To.Unix()/60)
	if err != nil {
		return nil, err
	}
	if err := readTallies(rows, func(int64) *block { return &unfolded }); err != nil {
		return nil, err
	}
	all.add(&unfolded)
	return all, nil
}

// readBlocks fills blocks, by the Unix times of their buckets.
func (r rollups) readBlocks(ctx context.Context, p part, d rollup.Dimension, blocks map[int64]*block) error {
	if len(blocks) == 0 {
		return nil
	}
	var buckets []time.Time
	for bucket := range blocks {
		buckets = append(buckets, time.Unix(bucket, 0))
	}
	first, last := slices.MinFunc(buckets, time.Time.Compare), slices.MaxFunc(buckets, time.Time.Compare)
	rows, err := r.tx.Query(ctx, `SELECT extract(epoch FROM bucket)::bigint, key_id, events, `+value("value")+`
		FROM `+p.folded+` WHERE dimension = $1 AND bucket = ANY ($2) AND bucket >= $3 AND bucket <= $4`,
		int16(d), buckets, first, last) // the limits tell which chunks to leave out
	if err != nil {
		return err
	}
	return readTallies(rows, func(bucket int64) *block { return blocks[bucket] })
}

// value makes two columns of a sum: one of 64 bits, and one of text where it is large.
func value(sum string) string {
	return "CASE WHEN abs(" + sum + ") < " + small + " THEN (" + sum + ")::bigint ELSE 0 END, " +
		"CASE WHEN abs(" + sum + ") >= " + small + " THEN (" + sum + ")::text END"
}

// readTallies puts rows of (bucket, key, events, value) into their blocks.
func readTallies(rows pgx.Rows, of func(bucket int64) *block) error {
	var bucket int64
	var t tally
	var text *string
	_, err := pgx.ForEachRow(rows, []any{&bucket, &t.key, &t.events, &t.value, &text}, func() error {
		b := of(bucket)
		b.tallies = append(b.tallies, t)
		if text == nil {
			return nil
		}
		if b.large == nil {
			b.large = map[int32]decimal.Micros{}
		}
		var sum decimal.Micros
		err := sum.Scan(*text)
		b.large[t.key] = sum
		return err
	})
	return err
}

// sums adds blocks up.
type sums struct {
	at    map[int32]int // index into list by key
	list  []tally
	large map[int32]decimal.Micros
}

func (s *sums) add(b *block) {
	for _, t := range b.tallies {
		i, ok := s.at[t.key]
		if !ok {
			i = len(s.list)
			s.at[t.key], s.list = i, append(s.list, tally{key: t.key})
		}
		s.list[i].events += t.events
		s.list[i].value += t.value
	}
	for key, v := range b.large {
		s.large[key] = s.large[key].Add(v)
	}
}

// number is what one key adds up to.
func (s *sums) number(t tally) Numbers {
	n := Numbers{Events: t.events}
	if t.value != 0 {
		n.Value = decimal.FromInt64(t.value)
	}
	if large, ok := s.large[t.key]; ok {
		n.Value = n.Value.Add(large)
	}
	return n
}

// remembered counts events by fields, of which one is the dimension d, over the whole
// range.
func (r rollups) remembered(ctx context.Context, d rollup.Dimension, by []string, keep map[string][]string) (cells []cell, err error) {
	s, err := r.totals(ctx, d)
	if err != nil {
		return nil, err
	}
	keys := make([]int32, len(s.list))
	for i, t := range s.list {
		keys[i] = t.key
	}
	names, err := r.memory.names.read(ctx, r.tx, keys)
	if err != nil {
		return nil, err
	}
	at := map[[2]string]int{}
	for _, t := range s.list {
		n := names[t.key]
		if r.types != nil && !slices.Contains(*r.types, n.typ) {
			continue
		}
		var labels [2]string
		kept := true
		for i, field := range by {
			labels[i] = n.of(field)
			if values, ok := keep[field]; ok && !slices.Contains(values, labels[i]) {
				kept = false
			}
		}
		if !kept {
			continue
		}
		i, ok := at[labels]
		if !ok {
			i = len(cells)
			at[labels], cells = i, append(cells, cell{labels: labels})
		}
		cells[i].add(s.number(t))
	}
	return cells, nil
}
