package audit

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/shared/rollup"
	"weir/services/shared/unique"
)

// The rows of an hour. Grouping them here is ten times as fast as having PostgreSQL sort
// every user of every dimension.
var sighted = `
SELECT extract(minute FROM time AT TIME ZONE 'UTC')::integer, type, coalesce(user_id, anonymous_id), session_id,
       ` + strings.Join(rollup.Fields(), ", ") + `
FROM events WHERE time >= $1 AND time < $2`

const (
	stored = `
SELECT 0, bucket, dimension, key_id, users FROM user_minutes WHERE bucket >= $1 AND bucket < $2
UNION ALL
SELECT 1, bucket, dimension, key_id, users FROM user_hours WHERE bucket >= $1 AND bucket < $2`

	storedByDay = `
SELECT 2, bucket, dimension, key_id, users FROM user_days WHERE bucket >= $1 AND bucket < $2`
)

var grains = []struct {
	name string
	size time.Duration
}{{"minute", time.Minute}, {"hour", time.Hour}, {"day", day}}

// keyed is whose users a set has. Sessions are kept in the same way, under the keys of
// the types. A key that the database does not know has number 0, one without a name none.
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

// audience has the users of each key, by bucket.
type audience map[keyed]map[place]*sides

func (a audience) at(k keyed, p place) *sides {
	if a[k] == nil {
		a[k] = map[place]*sides{}
	}
	if a[k][p] == nil {
		a[k][p] = new(sides)
	}
	return a[k][p]
}

// compareUsers calls differ for each bucket on a day, or a part of one, whose stored
// set is not that of the raw rows' users; tx has the snapshot of both. In memory are the
// sets of an hour, and those by day.
func compareUsers(ctx context.Context, tx pgx.Tx, s Span, differ func(keyed, place, *sides) error) error {
	ids, err := readKeys(ctx, tx)
	if err != nil {
		return err
	}
	named := make(map[int32]rollup.Key, len(ids))
	for key, id := range ids {
		named[id] = key
	}
	whole := s.whole(day)
	days := audience{}
	for hour := range s.hours() {
		a := audience{}
		if err := a.see(ctx, tx, hour, ids); err != nil {
			return err
		}
		for k, buckets := range a {
			for _, b := range slices.Collect(maps.Values(buckets)) {
				a.at(k, place{1, hour.From}).raw.Union(&b.raw)
			}
			if whole {
				days.at(k, place{2, s.From}).raw.Union(&a.at(k, place{1, hour.From}).raw)
			}
		}
		if err := a.load(ctx, tx, named, stored, hour); err != nil {
			return err
		}
		if err := a.compare(differ); err != nil {
			return err
		}
	}
	if !whole {
		return nil
	}
	if err := days.load(ctx, tx, named, storedByDay, s); err != nil {
		return err
	}
	return days.compare(differ)
}

func readKeys(ctx context.Context, tx pgx.Tx) (map[rollup.Key]int32, error) {
	rows, err := tx.Query(ctx, `SELECT id, dimension, type, value FROM rollup_keys`)
	if err != nil {
		return nil, err
	}
	ids := map[rollup.Key]int32{}
	var id int32
	var k rollup.Key
	_, err = pgx.ForEachRow(rows, []any{&id, &k.Dimension, &k.Type, &k.Value}, func() error { ids[k] = id; return nil })
	return ids, err
}

// see adds the users of an hour's rows to their minutes.
func (a audience) see(ctx context.Context, tx pgx.Tx, hour Span, ids map[rollup.Key]int32) error {
	type minutes [60]*sides
	type kind struct {
		typ      string
		all      minutes
		sessions minutes
		by       [rollup.Dimensions]map[string]*minutes
	}
	kinds := map[string]*kind{}
	add := func(m *minutes, minute int, d rollup.Dimension, typ, value string, hash uint32) {
		if m[minute] == nil {
			known := d
			if d == rollup.Sessions {
				known = rollup.All // under whose keys they are
			}
			k := keyed{d, ids[rollup.Key{Dimension: known, Type: typ, Value: value}], typ, value}
			m[minute] = a.at(k, place{0, hour.From.Add(time.Duration(minute) * time.Minute)})
		}
		m[minute].raw.Add(hash)
	}
	rows, err := tx.Query(ctx, sighted, hour.From, hour.To)
	if err != nil {
		return err
	}
	var minute int
	var typ, actor, session pgtype.DriverBytes // not copied: there are ten texts a row
	values := make([]pgtype.DriverBytes, len(rollup.Fields()))
	into := []any{&minute, &typ, &actor, &session}
	for i := range values {
		into = append(into, &values[i])
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		k := kinds[string(typ)]
		if k == nil {
			k = &kind{typ: string(typ)}
			kinds[k.typ] = k
		}
		if session != nil {
			add(&k.sessions, minute, rollup.Sessions, k.typ, "", unique.Hash(string(session)))
		}
		if actor == nil { // a row that somebody else wrote
			return nil
		}
		user := unique.Hash(string(actor))
		add(&k.all, minute, rollup.All, k.typ, "", user)
		for i := range values {
			if values[i] == nil {
				continue
			}
			d := rollup.All + 1 + rollup.Dimension(i)
			m := k.by[d][string(values[i])]
			if m == nil {
				if k.by[d] == nil {
					k.by[d] = map[string]*minutes{}
				}
				m = new(minutes)
				k.by[d][string(values[i])] = m
			}
			if m[minute] != nil {
				m[minute].raw.Add(user)
				continue
			}
			add(m, minute, d, k.typ, string(values[i]), user)
		}
		return nil
	})
	return err
}

// load adds the sets that a query finds.
func (a audience) load(ctx context.Context, tx pgx.Tx, named map[int32]rollup.Key, sql string, s Span) error {
	rows, err := tx.Query(ctx, sql, s.From, s.To)
	if err != nil {
		return err
	}
	var p place
	var k keyed
	var users pgtype.DriverBytes
	_, err = pgx.ForEachRow(rows, []any{&p.grain, &p.bucket, &k.dimension, &k.id, &users}, func() error {
		p.bucket = p.bucket.UTC()
		k.typ, k.value = named[k.id].Type, named[k.id].Value
		return a.at(k, p).rolled.Merge(users)
	})
	return err
}

// compare calls differ for the buckets whose sides are not the same, in order.
func (a audience) compare(differ func(keyed, place, *sides) error) error {
	for _, k := range slices.SortedFunc(maps.Keys(a), keyed.compare) {
		if err := compareBuckets(k, a[k], differ); err != nil {
			return err
		}
	}
	return nil
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

// rebuildUsers makes a day's sets anew where they differ, in tx, which keeps all others
// from writing sets, and returns how many.
func rebuildUsers(ctx context.Context, pool *pgxpool.Pool, tx pgx.Tx, s Span) (corrected int64, err error) {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, pool, snapshot, func(reading pgx.Tx) error {
		return compareUsers(ctx, reading, s, func(k keyed, p place, b *sides) error {
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
