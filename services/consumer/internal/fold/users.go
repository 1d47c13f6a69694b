package fold

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/services/shared/unique"
)

// mostUsers bounds one merge's transaction and memory.
const mostUsers = 100_000

// keysAtOnce bounds the sets that are in memory together: at most 64 KiB each, and
// three or so a key, though few come near.
const keysAtOnce = 200

const takeUsers = `
WITH taken AS (
    DELETE FROM rollup_user_deltas
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM rollup_user_deltas LIMIT $1))
    RETURNING minute, dimension, key_id, users
)
SELECT minute, dimension, key_id, users FROM taken ORDER BY key_id, minute`

// sighted is one line of the log of users.
type sighted struct {
	minute    int32
	dimension int16
	key       int32
	users     []byte
}

// grain is a table of sets, and the minutes of its buckets.
type grain struct {
	table   string
	minutes int32
}

var grains = []grain{{"users_minute", 1}, {"users_hour", 60}, {"users_day", 1440}}

// FoldUsers merges the log of users into the sets of all grains, unless another
// consumer is at it, and returns how many lines.
//
// Only whoever has the lock writes sets, so reading a set, merging and writing it back
// loses nothing; and the lines leave the log in the same transaction.
func (f *Folder) FoldUsers(ctx context.Context) (n int64, err error) {
	err = f.alone(ctx, UsersLockKey, func(tx pgx.Tx) error {
		n, err = takeUp(ctx, tx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("fold users: %w", err)
	}
	return n, nil
}

// Users merges all of the log of users, in the transaction of a caller who has the lock.
func Users(ctx context.Context, tx pgx.Tx) error {
	for {
		if n, err := takeUp(ctx, tx); err != nil || n < mostUsers {
			return err
		}
	}
}

func takeUp(ctx context.Context, tx pgx.Tx) (n int64, err error) {
	rows, err := tx.Query(ctx, takeUsers, mostUsers)
	if err != nil {
		return 0, err
	}
	lines, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (l sighted, err error) {
		return l, r.Scan(&l.minute, &l.dimension, &l.key, &l.users)
	})
	if err != nil {
		return 0, err
	}
	n = int64(len(lines))
	for len(lines) > 0 {
		end := cut(lines)
		for _, g := range grains {
			if err := g.merge(ctx, tx, lines[:end]); err != nil {
				return 0, fmt.Errorf("merge %s: %w", g.table, err)
			}
		}
		lines = lines[end:]
	}
	return n, nil
}

// cut returns where the first keysAtOnce keys of the lines end.
func cut(lines []sighted) int {
	keys := 1
	for i := 1; i < len(lines); i++ {
		if lines[i].key != lines[i-1].key {
			if keys++; keys > keysAtOnce {
				return i
			}
		}
	}
	return len(lines)
}

// Sets are written only when they grew: a day's big ones seldom do.
func (g grain) merge(ctx context.Context, tx pgx.Tx, lines []sighted) error {
	type place struct {
		bucket    int64 // Unix seconds
		dimension int16
		key       int32
	}
	var buckets []time.Time
	var dimensions []int16
	var keys []int32
	var sets []*unique.Set
	at := map[place]int{}
	for _, l := range lines {
		p := place{int64(l.minute/g.minutes*g.minutes) * 60, l.dimension, l.key}
		i, known := at[p]
		if !known {
			i = len(sets)
			at[p] = i
			buckets, dimensions, keys = append(buckets, time.Unix(p.bucket, 0)), append(dimensions, p.dimension), append(keys, p.key)
			sets = append(sets, new(unique.Set))
		}
		if err := sets[i].Merge(l.users); err != nil {
			return err
		}
	}

	before := make([][]byte, len(sets))
	rows, err := tx.Query(ctx, `
		SELECT i - 1, users
		FROM unnest($1::timestamptz[], $2::smallint[], $3::int[]) WITH ORDINALITY AS wanted (bucket, dimension, key_id, i)
		JOIN `+g.table+` USING (bucket, dimension, key_id)
		WHERE bucket >= $4 AND bucket <= $5`, // tells the planner which chunks
		buckets, dimensions, keys, slices.MinFunc(buckets, time.Time.Compare), slices.MaxFunc(buckets, time.Time.Compare))
	if err != nil {
		return err
	}
	var i int
	var users []byte
	_, err = pgx.ForEachRow(rows, []any{&i, &users}, func() error {
		before[i] = bytes.Clone(users)
		return sets[i].Merge(users)
	})
	if err != nil {
		return err
	}

	n := 0
	after := make([][]byte, 0, len(sets))
	for i, s := range sets {
		set, err := s.AppendBinary(nil)
		if err != nil {
			return err
		}
		if bytes.Equal(set, before[i]) {
			continue
		}
		buckets[n], dimensions[n], keys[n] = buckets[i], dimensions[i], keys[i]
		after = append(after, set)
		n++
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO `+g.table+` (bucket, dimension, key_id, users)
		SELECT * FROM unnest($1::timestamptz[], $2::smallint[], $3::int[], $4::bytea[])
		ON CONFLICT (dimension, bucket, key_id) DO UPDATE SET users = excluded.users`,
		buckets[:n], dimensions[:n], keys[:n], after)
	return err
}
