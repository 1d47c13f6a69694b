package metric

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/decimal"
	"weir/services/api/internal/span"
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
	tallies []tally // by ascending key
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

// totals counts each key of a dimension, by bucket if bucketed, else over the whole range:
// from blocks, of which those that changed are read, and from what is not folded yet.
func (r rollups) totals(ctx context.Context, d rollup.Dimension, bucketed bool) ([]sums, error) {
	index, minute := func(int64) int { return 0 }, "0::bigint"
	totals := make([]sums, 1)
	if bucketed {
		index, minute = r.bucket, "minute * 60::bigint"
		totals = make([]sums, len(r.buckets))
	}
	parts := r.parts(bucketed)
	current := r.current[bucketed]
	if current == nil {
		var err error
		if current, err = versions(ctx, r.tx, parts); err != nil {
			return nil, err
		}
		r.current[bucketed] = current
	}
	missing := map[grain]map[int64]*block{}
	for _, p := range parts {
		for bucket := range p.buckets() {
			b, ok := r.memory.blocks.GetIfPresent(p.place(d, bucket))
			if v := current(p, bucket); !ok || b.version != v {
				if missing[p.grain] == nil {
					missing[p.grain] = map[int64]*block{}
				}
				missing[p.grain][bucket.Unix()] = &block{version: v}
				continue
			}
			totals[index(bucket.Unix())].add(b)
		}
	}
	for g, blocks := range missing {
		if err := r.readBlocks(ctx, g, d, blocks); err != nil {
			return nil, err
		}
		for bucket, b := range blocks {
			r.memory.blocks.Set(g.place(d, time.Unix(bucket, 0)), b)
			totals[index(bucket)].add(b)
		}
	}
	unfolded := map[int64]*block{}
	rows, err := r.tx.Query(ctx, `SELECT `+minute+`, key_id, sum(events)::bigint, `+value("sum(value)")+`
		FROM rollup_deltas WHERE dimension = $1 AND minute >= $2 AND minute < $3 GROUP BY 1, 2`,
		int16(d), r.From.Unix()/60, r.To.Unix()/60)
	if err != nil {
		return nil, err
	}
	if err := readTallies(rows, unfolded); err != nil {
		return nil, err
	}
	for at, b := range unfolded {
		totals[index(at)].add(b)
	}
	return totals, nil
}

// bucket is which of the question's buckets a time of its range lies in.
func (r rollups) bucket(unix int64) int {
	i, exactly := slices.BinarySearchFunc(r.buckets, unix, func(b time.Time, unix int64) int { return cmp.Compare(b.Unix(), unix) })
	if exactly {
		return i
	}
	return i - 1
}

// bucketSpan is the part of the question's range that lies in a bucket.
func (r rollups) bucketSpan(i int) span.Span {
	s := span.Span{From: r.buckets[i].UTC(), To: r.To}
	if s.From.Before(r.From) {
		s.From = r.From
	}
	if i+1 < len(r.buckets) {
		s.To = r.buckets[i+1].UTC()
	}
	return s
}

// readBlocks fills blocks, one at least, by the Unix times of their buckets.
func (r rollups) readBlocks(ctx context.Context, g grain, d rollup.Dimension, blocks map[int64]*block) error {
	var buckets []time.Time
	for bucket := range blocks {
		buckets = append(buckets, time.Unix(bucket, 0))
	}
	first, last := slices.MinFunc(buckets, time.Time.Compare), slices.MaxFunc(buckets, time.Time.Compare)
	where, args := "", []any{int16(d), first, last} // the limits tell which chunks to leave out
	if int(last.Sub(first)/g.size)+1 > len(buckets) {
		// Where all are missing this is left out: each would be looked up in each chunk, a
		// month's hours 720 times in 30.
		where, args = " AND bucket = ANY ($4)", append(args, buckets)
	}
	rows, err := r.tx.Query(ctx, `SELECT extract(epoch FROM bucket)::bigint, key_id, events, `+value("value")+`
		FROM `+g.folded+` WHERE dimension = $1 AND bucket >= $2 AND bucket <= $3`+where, args...)
	if err != nil {
		return err
	}
	return readTallies(rows, blocks)
}

// value makes two columns of a sum: one of 64 bits, and one of text where it is large.
func value(sum string) string {
	return "CASE WHEN abs(" + sum + ") < " + small + " THEN (" + sum + ")::bigint ELSE 0 END, " +
		"CASE WHEN abs(" + sum + ") >= " + small + " THEN (" + sum + ")::text END"
}

// readTallies puts rows of (bucket, key, events, value) into the blocks of their buckets,
// and makes those that are missing.
func readTallies(rows pgx.Rows, blocks map[int64]*block) error {
	var bucket int64
	var t tally
	var text *string
	_, err := pgx.ForEachRow(rows, []any{&bucket, &t.key, &t.events, &t.value, &text}, func() error {
		b := blocks[bucket]
		if b == nil {
			b = &block{}
			blocks[bucket] = b
		}
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
	for _, b := range blocks {
		slices.SortFunc(b.tallies, func(a, b tally) int { return cmp.Compare(a.key, b.key) })
	}
	return err
}

// sums adds blocks up.
type sums struct {
	list  []tally // by ascending key
	large map[int32]decimal.Micros
}

// add goes along both lists at once: a month of a busy site has a million tallies, of
// nearly the same keys day by day, and a map would take most of an answer's time.
func (s *sums) add(b *block) {
	var fresh []tally
	i := 0
	for _, t := range b.tallies {
		for i < len(s.list) && s.list[i].key < t.key {
			i++
		}
		if i == len(s.list) || s.list[i].key != t.key {
			fresh = append(fresh, t)
			continue
		}
		s.list[i].events += t.events
		s.list[i].value += t.value
	}
	old := len(s.list)
	s.list = append(s.list, fresh...)
	for at := len(s.list) - 1; len(fresh) > 0; at-- { // merge them in, from the end
		if last := fresh[len(fresh)-1]; old == 0 || s.list[old-1].key < last.key {
			s.list[at], fresh = last, fresh[:len(fresh)-1]
		} else {
			s.list[at] = s.list[old-1]
			old--
		}
	}
	for key, v := range b.large {
		if s.large == nil {
			s.large = map[int32]decimal.Micros{}
		}
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

// remembered counts events by fields, of which one is the dimension d.
func (r rollups) remembered(ctx context.Context, d rollup.Dimension, by []string, keep map[string][]string, bucketed bool) (cells []cell, err error) {
	totals, err := r.totals(ctx, d, bucketed)
	if err != nil {
		return nil, err
	}
	kept, err := r.labels(ctx, totals, by, keep)
	if err != nil {
		return nil, err
	}
	at := map[[2]string]int{}
	for i := range totals {
		s := &totals[i]
		clear(at)
		rest := kept
		for _, t := range s.list {
			for len(rest) > 0 && rest[0].key < t.key {
				rest = rest[1:]
			}
			if len(rest) == 0 {
				break
			}
			if rest[0].key != t.key {
				continue
			}
			n, ok := at[rest[0].labels]
			if !ok {
				n = len(cells)
				at[rest[0].labels], cells = n, append(cells, cell{bucket: i, labels: rest[0].labels})
			}
			cells[n].add(s.number(t))
		}
	}
	return cells, nil
}

// labelled is a key, and which group it counts for.
type labelled struct {
	key    int32
	labels [2]string
}

// labels lists the keys that pass the filter and are kept, in ascending order.
func (r rollups) labels(ctx context.Context, totals []sums, by []string, keep map[string][]string) (list []labelled, err error) {
	var all sums
	for _, s := range totals {
		all.add(&block{tallies: s.list})
	}
	keys := make([]int32, len(all.list))
	for i, t := range all.list {
		keys[i] = t.key
	}
	names, err := r.memory.names.read(ctx, r.tx, keys)
	if err != nil {
		return nil, err
	}
keys:
	for i, key := range keys {
		if r.types != nil && !slices.Contains(*r.types, names[i].typ) {
			continue
		}
		one := labelled{key: key}
		for j, field := range by {
			one.labels[j] = names[i].of(field)
			if values, ok := keep[field]; ok && !slices.Contains(values, one.labels[j]) {
				continue keys
			}
		}
		list = append(list, one)
	}
	return list, nil
}
