package audit

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/shared/rollup"
	"weir/services/shared/unique"
)

// Both sides of the comparison come key by key in the same order, so that only one
// key's sets are in memory, however many there are. A raw row whose key is not known
// has number 0.
var sighted = `
SELECT DISTINCT d.dimension::smallint, coalesce(k.id, 0), e.type, d.value,
       date_trunc('minute', e.time, 'UTC'), coalesce(e.user_id, e.anonymous_id)
FROM events e
CROSS JOIN LATERAL (VALUES ` + dimensions() + `) AS d (dimension, value)
LEFT JOIN rollup_keys k ON (k.dimension, k.type, k.value) = (d.dimension, e.type, d.value)
WHERE e.time >= $1 AND e.time < $2 AND d.value IS NOT NULL
ORDER BY 1, 2, 3, 4, 5`

const stored = `
SELECT u.dimension, u.key_id, coalesce(k.type, ''), coalesce(k.value, ''), grain, bucket, users
FROM (
    SELECT 0 AS grain, * FROM user_minutes WHERE bucket >= $1 AND bucket < $2
    UNION ALL
    SELECT 1, * FROM user_hours WHERE bucket >= $1 AND bucket < $2
    UNION ALL
    SELECT 2, * FROM user_days WHERE $3 AND bucket >= $1 AND bucket < $2
) u
LEFT JOIN rollup_keys k ON k.id = u.key_id
ORDER BY 1, 2, 3, 4`

var grains = []struct {
	name string
	size time.Duration
}{{"minute", time.Minute}, {"hour", time.Hour}, {"day", day}}

// keyed is whose users a row is about.
type keyed struct {
	dimension rollup.Dimension
	id        int32
	typ       string
	value     string
}

func (k keyed) compare(o keyed) int {
	return cmp.Or(cmp.Compare(k.dimension, o.dimension), cmp.Compare(k.id, o.id), cmp.Compare(k.typ, o.typ), cmp.Compare(k.value, o.value))
}

type place struct {
	grain  int
	bucket time.Time
}

// sides are one bucket's users, counted anew and as stored.
type sides struct{ raw, rolled unique.Set }

// compareUsers calls differ for each bucket on a day, or a part of one, whose stored
// set is not that of the raw rows' users. tx holds the snapshot that both are read in.
func compareUsers(ctx context.Context, pool *pgxpool.Pool, tx pgx.Tx, s Span, differ func(keyed, place, *sides) error) error {
	var snapshot string
	if err := tx.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&snapshot); err != nil {
		return err
	}
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(other pgx.Tx) error {
		if _, err := other.Exec(ctx, `SET TRANSACTION SNAPSHOT '`+snapshot+`'`); err != nil {
			return err
		}
		type sighting struct {
			keyed
			minute time.Time
			actor  string
		}
		type set struct {
			keyed
			place
			users []byte
		}
		raw, err := open(ctx, tx, func(r *sighting) []any {
			return []any{&r.dimension, &r.id, &r.typ, &r.value, &r.minute, &r.actor}
		}, sighted, s.From, s.To)
		if err != nil {
			return err
		}
		defer raw.rows.Close()
		rolled, err := open(ctx, other, func(r *set) []any {
			return []any{&r.dimension, &r.id, &r.typ, &r.value, &r.grain, &r.bucket, &r.users}
		}, stored, s.From, s.To, s.whole(day))
		if err != nil {
			return err
		}
		defer rolled.rows.Close()

		for raw.more || rolled.more {
			k := rolled.head.keyed
			if !rolled.more || raw.more && raw.head.compare(k) < 0 {
				k = raw.head.keyed
			}
			buckets := map[place]*sides{}
			at := func(p place) *sides {
				if buckets[p] == nil {
					buckets[p] = new(sides)
				}
				return buckets[p]
			}
			for ; raw.more && raw.head.keyed == k; raw.next() {
				for i, g := range grains {
					if g.size < day || s.whole(day) {
						at(place{i, raw.head.minute.UTC().Truncate(g.size)}).raw.Add(unique.Hash(raw.head.actor))
					}
				}
			}
			for ; rolled.more && rolled.head.keyed == k; rolled.next() {
				if err := at(place{rolled.head.grain, rolled.head.bucket.UTC()}).rolled.Merge(rolled.head.users); err != nil {
					return err
				}
			}
			if err := compareBuckets(k, buckets, differ); err != nil {
				return err
			}
		}
		return cmp.Or(raw.err, rolled.err)
	})
}

func compareBuckets(k keyed, buckets map[place]*sides, differ func(keyed, place, *sides) error) error {
	var places []place
	for p, b := range buckets {
		raw, err := b.raw.AppendBinary(nil)
		if err != nil {
			return err
		}
		rolled, err := b.rolled.AppendBinary(nil)
		if err != nil {
			return err
		}
		if !bytes.Equal(raw, rolled) {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(a.bucket.Compare(b.bucket), cmp.Compare(a.grain, b.grain)) })
	for _, p := range places {
		if err := differ(k, p, buckets[p]); err != nil {
			return err
		}
	}
	return nil
}

// cursor reads a query's rows one at a time.
type cursor[T any] struct {
	rows pgx.Rows
	into func(*T) []any
	head T
	more bool
	err  error
}

func open[T any](ctx context.Context, tx pgx.Tx, into func(*T) []any, sql string, args ...any) (*cursor[T], error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	c := &cursor[T]{rows: rows, into: into}
	c.next()
	return c, c.err
}

func (c *cursor[T]) next() {
	if c.more = c.rows.Next(); c.more {
		if c.err = c.rows.Scan(c.into(&c.head)...); c.err == nil {
			return
		}
		c.more = false
	} else {
		c.err = c.rows.Err()
	}
	c.rows.Close()
}

// rebuildUsers makes a day's sets anew where they differ, in tx, which keeps all others
// from writing sets, and returns how many.
func rebuildUsers(ctx context.Context, pool *pgxpool.Pool, tx pgx.Tx, s Span) (corrected int64, err error) {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, pool, snapshot, func(reading pgx.Tx) error {
		return compareUsers(ctx, pool, reading, s, func(k keyed, p place, b *sides) error {
			corrected++
			table := "users_" + grains[p.grain].name
			if b.raw.Count() == 0 {
				_, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE bucket = $1 AND dimension = $2 AND key_id = $3`, p.bucket, k.dimension, k.id)
				return err
			}
			users, err := b.raw.AppendBinary(nil)
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `
				INSERT INTO `+table+` (bucket, dimension, key_id, users) VALUES ($1, $2, $3, $4)
				ON CONFLICT (dimension, bucket, key_id) DO UPDATE SET users = excluded.users`, p.bucket, k.dimension, k.id, users)
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("correct users: %w", err)
	}
	return corrected, nil
}
