package metric

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"weir/services/api/internal/query"
	"weir/services/shared/rollup"
	"weir/services/shared/unique"
)

// stretch is what a union is of: a key's users or sessions in a part of a range.
type stretch struct {
	minutes   int64 // of the grain
	dimension rollup.Dimension
	from, to  int64 // Unix time
	key       int32
	rebuilds  int64
}

// union is the union of a key's sets in a stretch. Sets only ever grow, but by a rebuild:
// so a set that changed is merged into the union, and the others are not read again.
type union struct {
	seen map[int64]uint32 // which version of each set is in it, by the Unix time of its bucket
	set  *unique.Set
}

func (u *union) bytes() uint32 { return uint32(100 + 40*len(u.seen) + u.set.Size()) }

// unite returns the set of each type, of users or of sessions, over the whole range.
func (r rollups) unite(ctx context.Context, d rollup.Dimension) (map[string]*unique.Set, error) {
	parts := parts(r.Span, nil)
	current, n, err := r.sets(ctx, d, parts)
	if err != nil {
		return nil, err
	}
	all := map[int32]*unique.Set{} // by key
	for i, p := range parts {
		unions, err := r.unions(ctx, p, d, n, current[i])
		if err != nil {
			return nil, err
		}
		for key, u := range unions {
			if all[key] == nil {
				all[key] = new(unique.Set)
			}
			all[key].Union(u.set)
		}
	}
	var s statement
	unfolded := `SELECT key_id, users FROM rollup_user_deltas WHERE dimension = ` + s.arg(int16(d)) + r.keys(&s, d, nil) +
		` AND minute >= ` + s.arg(r.From.Unix()/60) + ` AND minute < ` + s.arg(r.To.Unix()/60)
	if err := mergeSets(ctx, r.tx, all, unfolded, s.args...); err != nil {
		return nil, err
	}
	keys := slices.Collect(maps.Keys(all))
	names, err := r.memory.names.read(ctx, r.tx, keys)
	if err != nil {
		return nil, err
	}
	types := map[string]*unique.Set{} // each of which is one key
	for i, key := range keys {
		types[names[i].typ] = all[key]
	}
	return types, nil
}

// sets lists the sets of each part by key and bucket, with their versions: the
// transactions that wrote them. Tables of sets are not compressed, so each row has one.
// made is how often they were made anew.
func (r rollups) sets(ctx context.Context, d rollup.Dimension, parts []part) (list []map[int32]map[int64]uint32, made int64, err error) {
	var s statement
	where := " WHERE dimension = " + s.arg(int16(d)) + r.keys(&s, d, nil)
	selects := []string{"SELECT -1, " + query.Rebuilds + ", 0, '0'::xid"}
	for i, p := range parts {
		selects = append(selects, fmt.Sprintf("SELECT %d, extract(epoch FROM bucket)::bigint, key_id, xmin FROM %s%s AND bucket >= %s AND bucket < %s",
			i, p.foldedUsers, where, s.arg(p.From), s.arg(p.To)))
	}
	rows, err := r.tx.Query(ctx, strings.Join(selects, "\nUNION ALL\n"), s.args...)
	if err != nil {
		return nil, 0, err
	}
	list = make([]map[int32]map[int64]uint32, len(parts))
	var i int
	var bucket int64
	var key int32
	var version uint32
	_, err = pgx.ForEachRow(rows, []any{&i, &bucket, &key, &version}, func() error {
		if i < 0 {
			made = bucket
			return nil
		}
		if list[i] == nil {
			list[i] = map[int32]map[int64]uint32{}
		}
		if list[i][key] == nil {
			list[i][key] = map[int64]uint32{}
		}
		list[i][key][bucket] = version
		return nil
	})
	return list, made, err
}

// unions returns the union of each key's sets in a part, whose versions are current.
func (r rollups) unions(ctx context.Context, p part, d rollup.Dimension, rebuilds int64, current map[int32]map[int64]uint32) (map[int32]*union, error) {
	unions := map[int32]*union{}
	grown, changed := map[int32]*unique.Set{}, map[int64]bool{}
	at := stretch{int64(p.size / time.Minute), d, p.From.Unix(), p.To.Unix(), 0, rebuilds}
	for key, sets := range current {
		at.key = key
		known, ok := r.memory.unions.GetIfPresent(at)
		switch {
		case ok && maps.Equal(known.seen, sets):
			unions[key] = known
			continue
		case ok && known.within(sets):
			grown[key] = new(unique.Set)
			grown[key].Union(known.set)
		default: // unknown, or one of its buckets is no longer kept
			known, grown[key] = &union{}, new(unique.Set)
		}
		for bucket, version := range sets {
			if known.seen[bucket] != version {
				changed[bucket] = true
			}
		}
	}
	if len(grown) == 0 {
		return unions, nil
	}
	var buckets []time.Time
	for bucket := range changed {
		buckets = append(buckets, time.Unix(bucket, 0))
	}
	err := mergeSets(ctx, r.tx, grown, `SELECT key_id, users FROM `+p.foldedUsers+`
		WHERE dimension = $1 AND bucket = ANY ($2) AND key_id = ANY ($3) AND bucket >= $4 AND bucket < $5`,
		int16(d), buckets, slices.Collect(maps.Keys(grown)), p.From, p.To)
	if err != nil {
		return nil, err
	}
	for key, set := range grown {
		at.key = key
		set.Tidy() // as others are going to read it at once
		unions[key] = &union{current[key], set}
		r.memory.unions.Set(at, unions[key])
	}
	return unions, nil
}

// within tells whether the union has no bucket but those of sets.
func (u *union) within(sets map[int64]uint32) bool {
	for bucket := range u.seen {
		if _, ok := sets[bucket]; !ok {
			return false
		}
	}
	return true
}

// mergeSets merges the sets that a query of (key, set) finds into those of their keys.
func mergeSets(ctx context.Context, tx pgx.Tx, into map[int32]*unique.Set, sql string, args ...any) error {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var key int32
	var encoded pgtype.DriverBytes // valid until the next row, which is long enough
	_, err = pgx.ForEachRow(rows, []any{&key, &encoded}, func() error {
		if into[key] == nil {
			into[key] = new(unique.Set)
		}
		return into[key].Merge(encoded)
	})
	return err
}
