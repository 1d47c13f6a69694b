package metric

import (
	"context"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"weir/services/api/internal/query"
	"weir/services/shared/rollup"
	"weir/services/shared/unique"
)

// stretch is what a union is of: the users or sessions of some keys in a part of a range.
type stretch struct {
	minutes   int64 // of the grain
	dimension rollup.Dimension
	from, to  int64  // Unix time
	keys      uint64 // a hash of them
}

// union is the union of the sets of a stretch. Sets only ever grow, but by a rebuild: so those
// of a bucket that changed are merged into the union, and the others are not read again.
type union struct {
	folds *folds
	set   *unique.Set
}

func (u *union) bytes() uint32 { return uint32(150 + 40*len(u.folds.last) + u.set.Size()) }

// folds tells of the buckets of a part in which state their sets are.
type folds struct {
	last     map[int64]uint32 // by Unix time, the transaction that wrote sets of the bucket last
	rebuilds int64
	sum      uint64 // a hash of all this
}

// before reports whether these folds were followed by nothing but other folds: not by a
// rebuild, and no bucket is gone.
func (f *folds) before(now *folds) bool {
	for bucket := range f.last {
		if _, ok := now.last[bucket]; !ok {
			return false
		}
	}
	return f.rebuilds == now.rebuilds
}

var seed = maphash.MakeSeed()

// hash is the same for the same value. Those of the elements of a set are added up, which
// makes one of the set, in whatever order they come.
func hash[T comparable](of T) uint64 { return maphash.Comparable(seed, of) }

// told is what folds tells of: one of rollup.UserLogs, and whether the parts are those of buckets.
type told struct {
	log      int
	bucketed bool
}

// folds tells of each part in which state the sets of a dimension are. A question asks once.
func (r rollups) folds(ctx context.Context, d rollup.Dimension, bucketed bool) ([]*folds, error) {
	of := told{d.UserLog(), bucketed}
	if list := r.known[of]; list != nil {
		return list, nil
	}
	var s statement
	where := fmt.Sprintf(" WHERE dimension = %s AND key_id = %s", s.arg(int16(rollup.Folds)), s.arg(of.log))
	selects := []string{"SELECT -1, " + query.Rebuilds + ", '0'::xid"}
	parts := r.parts(bucketed)
	list := make([]*folds, len(parts))
	for i, p := range parts {
		list[i] = &folds{last: map[int64]uint32{}}
		selects = append(selects, fmt.Sprintf("SELECT %d, extract(epoch FROM bucket)::bigint, xmin FROM %s%s AND bucket >= %s AND bucket < %s",
			i, p.foldedUsers, where, s.arg(p.From), s.arg(p.To)))
	}
	rows, err := r.tx.Query(ctx, strings.Join(selects, "\nUNION ALL\n"), s.args...)
	if err != nil {
		return nil, err
	}
	var i int
	var n, rebuilds int64
	var version uint32
	_, err = pgx.ForEachRow(rows, []any{&i, &n, &version}, func() error {
		if i < 0 {
			rebuilds = n
			return nil
		}
		list[i].last[n] = version
		list[i].sum += hash(fold{n, version})
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		f.rebuilds = rebuilds
		f.sum += hash(rebuilds)
	}
	r.known[of] = list
	return list, nil
}

// fold is the last one of a bucket.
type fold struct {
	bucket  int64
	version uint32
}

// mostUnions is up to how many keys a question's sets are remembered of, and, if it asks for
// each of them, in memory at once: 32 MB of sketches at worst. Those of more are merged as they come.
const mostUnions = 500

// chosen are the keys that a question is about, what each is called by the fields that it asks
// by, and a hash of those that are called the same.
type chosen struct {
	keys   []int32
	labels map[int32][2]string
	hashes map[[2]string]uint64
}

// choose lists the keys of a dimension that pass the filter and are kept; nil when they are
// too many.
func (r rollups) choose(ctx context.Context, d rollup.Dimension, by []string, keep map[string][]string) (*chosen, error) {
	var s statement
	rows, err := r.tx.Query(ctx, `SELECT id FROM rollup_keys WHERE `+r.passing(&s, d, keep)+` LIMIT `+s.arg(mostUnions+1), s.args...)
	if err != nil {
		return nil, err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil || len(keys) > mostUnions {
		return nil, err
	}
	names, err := r.memory.names.read(ctx, r.tx, keys)
	if err != nil {
		return nil, err
	}
	c := &chosen{keys, map[int32][2]string{}, map[[2]string]uint64{}}
	for i, key := range keys {
		var labels [2]string
		for j, field := range by {
			labels[j] = names[i].of(field)
		}
		c.labels[key] = labels
		c.hashes[labels] += hash(key)
	}
	return c, nil
}

// unite returns the set of users or sessions of each label over the whole range.
func (r rollups) unite(ctx context.Context, d rollup.Dimension, c *chosen) (map[[2]string]*unique.Set, error) {
	sets := map[[2]string]*unique.Set{}
	for label := range c.hashes {
		sets[label] = new(unique.Set)
	}
	folds, err := r.folds(ctx, d, false)
	if err != nil {
		return nil, err
	}
	for i, p := range r.parts(false) {
		unions, err := r.unions(ctx, p, d, c, folds[i])
		if err != nil {
			return nil, err
		}
		for label, u := range unions {
			sets[label].Union(u.set)
		}
	}
	return sets, mergeSets(ctx, r.tx, func(key int32) *unique.Set { return sets[c.labels[key]] },
		`SELECT key_id, users FROM rollup_user_deltas WHERE dimension = $1 AND key_id = ANY ($2) AND minute >= $3 AND minute < $4`,
		int16(d), c.keys, r.From.Unix()/60, r.To.Unix()/60)
}

// unions returns the union of each label's sets in a part, as of now.
func (r rollups) unions(ctx context.Context, p part, d rollup.Dimension, c *chosen, now *folds) (map[[2]string]*union, error) {
	unions, grown := map[[2]string]*union{}, map[[2]string]*union{}
	changed, all := map[int64]struct{}{}, false
	at := func(label [2]string) stretch {
		return stretch{int64(p.size / time.Minute), d, p.From.Unix(), p.To.Unix(), c.hashes[label]}
	}
	for label := range c.hashes {
		known, ok := r.memory.unions.GetIfPresent(at(label))
		if ok && known.folds.sum == now.sum {
			unions[label] = known
			continue
		}
		grown[label] = &union{now, new(unique.Set)}
		unions[label] = grown[label]
		if !ok || !known.folds.before(now) {
			all = true
			continue
		}
		grown[label].set.Union(known.set)
		for bucket, version := range now.last {
			if known.folds.last[bucket] != version {
				changed[bucket] = struct{}{}
			}
		}
	}
	if len(grown) == 0 {
		return unions, nil
	}
	var keys []int32
	for _, key := range c.keys {
		if grown[c.labels[key]] != nil {
			keys = append(keys, key)
		}
	}
	where, args := "", []any{int16(d), keys, p.From, p.To}
	if !all {
		var buckets []time.Time
		for bucket := range changed {
			buckets = append(buckets, time.Unix(bucket, 0))
		}
		where, args = " AND bucket = ANY ($5)", append(args, buckets)
	}
	err := mergeSets(ctx, r.tx, func(key int32) *unique.Set { return grown[c.labels[key]].set }, `SELECT key_id, users FROM `+p.foldedUsers+`
		WHERE dimension = $1 AND key_id = ANY ($2) AND bucket >= $3 AND bucket < $4`+where, args...)
	if err != nil {
		return nil, err
	}
	for label, u := range grown {
		u.set.Tidy() // as others are going to read it at once
		r.memory.unions.Set(at(label), u)
	}
	return unions, nil
}

// mergeSets merges the sets that a query of (key, set) finds into those of their keys.
func mergeSets(ctx context.Context, tx pgx.Tx, of func(key int32) *unique.Set, sql string, args ...any) error {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var key int32
	var encoded pgtype.DriverBytes // valid until the next row, which is long enough
	_, err = pgx.ForEachRow(rows, []any{&key, &encoded}, func() error { return of(key).Merge(encoded) })
	return err
}

// audience is who is counted: the users or sessions of some keys in a stretch of time, when
// their sets are in a certain state. As long as they are, it has the same number.
type audience struct {
	dimension rollup.Dimension
	keys      uint64 // a hash of them
	from, to  int64  // Unix time
	folds     uint64 // a hash of those of the buckets within
}

// overTime counts users or sessions by label and bucket. Few buckets change from one question
// to the next: the sets of the others need not be read again, nor kept.
func (r rollups) overTime(ctx context.Context, d rollup.Dimension, by []string, keep map[string][]string, c *chosen) ([]cell, error) {
	folds, err := r.folds(ctx, d, true)
	if err != nil {
		return nil, err
	}
	sums := make([]uint64, len(r.buckets))
	for i, p := range r.parts(true) {
		for bucket, version := range folds[i].last {
			sums[r.bucket(bucket)] += hash(struct {
				size time.Duration
				fold fold
			}{p.size, fold{bucket, version}})
		}
	}
	waiting, err := r.waiting(ctx, d, c.keys)
	if err != nil {
		return nil, err
	}
	at := func(i int, label [2]string) audience {
		s := r.bucketSpan(i)
		return audience{d, c.hashes[label], s.From.Unix(), s.To.Unix(), sums[i] + hash(folds[0].rebuilds)}
	}
	var cells []cell
	var missing []part
	read := make([]bool, len(r.buckets))
	for i := range r.buckets {
		read[i] = waiting[i]
		var known []cell
		for label := range c.hashes {
			n, ok := r.memory.counts.GetIfPresent(at(i, label))
			read[i] = read[i] || !ok
			known = append(known, cell{bucket: i, labels: label, n: n})
		}
		if read[i] {
			missing = join(missing, cover(r.bucketSpan(i), len(grains)-1))
		} else {
			cells = append(cells, known...)
		}
	}
	if len(missing) == 0 {
		return cells, nil
	}
	counted, err := r.merge(ctx, d, by, keep, true, missing, func(*unique.Set) {})
	if err != nil {
		return nil, err
	}
	found := map[spot]int64{}
	for _, one := range counted {
		found[spot{one.bucket, one.labels}] = one.n
	}
	for i := range r.buckets {
		for label := range c.hashes {
			if read[i] && !waiting[i] {
				r.memory.counts.Set(at(i, label), found[spot{i, label}])
			}
		}
	}
	return append(cells, counted...), nil
}

// waiting tells of which buckets some sets are not folded yet.
func (r rollups) waiting(ctx context.Context, d rollup.Dimension, keys []int32) ([]bool, error) {
	list := make([]bool, len(r.buckets))
	rows, err := r.tx.Query(ctx, `SELECT DISTINCT minute * 60::bigint FROM rollup_user_deltas
		WHERE dimension = $1 AND key_id = ANY ($2) AND minute >= $3 AND minute < $4`,
		int16(d), keys, r.From.Unix()/60, r.To.Unix()/60)
	if err != nil {
		return nil, err
	}
	var at int64
	_, err = pgx.ForEachRow(rows, []any{&at}, func() error {
		list[r.bucket(at)] = true
		return nil
	})
	return list, err
}
