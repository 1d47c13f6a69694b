package fold

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"weir/services/shared/rollup"
	"weir/services/shared/unique"
)

// A day's set is written whole each time that it grew, so much at once costs less than
// often; and the log of a minute at once takes the writers' CPU for ten seconds (at 110,000
// events/s, on two cores: a tenth of the events were stored after a second or more). So a
// log is folded in shares, each of them with all that waits for its keys. This is how many
// shares each of rollup.UserLogs has: the first has few keys. What waits for a share should
// be less than mostUsers, or its sets are written several times; and each share looks
// through the whole log.
var shares = [len(rollup.UserLogs)]int{1, 16}

// share is a part of a log, of rollup.UserLogs: the keys whose remainder by of is number.
type share struct {
	log, of, number int
}

// mostUsers bounds one merge's transaction and memory: 40 MB or so. It is what a share of
// the longer log has at 120,000 events/s.
const mostUsers = 200_000

// keysAtOnce bounds the sets that are in memory together: at most 64 KiB each, and
// three or so a key, though few come near.
const keysAtOnce = 100

// restFor is for how many times as long as it worked a fold of users rests, after each
// keysAtOnce: without rests it takes a core for one or two seconds (at 90,000 events/s), and
// what is written meanwhile waits as long. The price is a longer transaction, during which
// nobody's dead lines can be cleared away.
const restFor = 2

// turn is how long the turn of one of so many shares is. What is left of it then is a
// backlog, which is folded without rests.
func turn(of int) time.Duration { return longestUsers / time.Duration(of) }

// rest pauses for restFor times what was worked, but not beyond the end of a turn.
func rest(ctx context.Context, worked time.Duration, turnEnds time.Time) {
	select {
	case <-ctx.Done():
	case <-time.After(min(restFor*worked, time.Until(turnEnds))):
	}
}

func (s share) take() string {
	log := rollup.UserLogs[s.log]
	return `
DELETE FROM ` + log + `
WHERE ctid = ANY (ARRAY(SELECT ctid FROM ` + log + ` WHERE key_id % $1 = $2 LIMIT $3))
RETURNING minute, dimension, key_id, users`
}

// sighted is one line of the log of users.
type sighted struct {
	minute    int32
	dimension int16
	key       int32
	users     []byte
}

// grain is a table of sets, and the minutes of its buckets. Each holds a whole number
// of those of the one before.
type grain struct {
	table   string
	minutes int32
}

var grains = []grain{{"users_minute", 1}, {"users_hour", 60}, {"users_day", 1440}}

// FoldUsers merges the log of users into the sets of all grains, all shares at once,
// unless another consumer is at it, and returns how many lines. Run does the same with
// rests between the shares, and in each.
func (f *Folder) FoldUsers(ctx context.Context) (n int64, err error) {
	for i := range rollup.UserLogs {
		for number := range shares[i] {
			for more := int64(mostUsers); more == mostUsers; n += more {
				if more, err = f.foldShare(ctx, share{i, shares[i], number}, time.Time{}); err != nil {
					return n, err
				}
			}
		}
	}
	return n, nil
}

// foldShare folds at most mostUsers lines of one share, with rests until its turn ends.
//
// Only whoever has the log's lock writes sets of its dimensions, so reading a set, merging
// and writing it back loses nothing; and the lines leave the log in the same transaction.
func (f *Folder) foldShare(ctx context.Context, s share, turnEnds time.Time) (n int64, err error) {
	lock := fmt.Sprintf(`SELECT pg_try_advisory_xact_lock_shared(%d) AND pg_try_advisory_xact_lock(%d)`, UsersLockKey, UsersLockKey+1+s.log)
	err = f.alone(ctx, lock, func(tx pgx.Tx) error {
		n, err = takeUp(ctx, tx, s, turnEnds)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("fold users: %w", err)
	}
	return n, nil
}

// Users merges all of the log of users, in the transaction of a caller who has the lock.
func Users(ctx context.Context, tx pgx.Tx) error {
	for i := range rollup.UserLogs {
		for n := int64(mostUsers); n == mostUsers; {
			var err error
			if n, err = takeUp(ctx, tx, share{i, 1, 0}, time.Time{}); err != nil {
				return err
			}
		}
	}
	return nil
}

func takeUp(ctx context.Context, tx pgx.Tx, s share, turnEnds time.Time) (n int64, err error) {
	start := time.Now()
	rows, err := tx.Query(ctx, s.take(), s.of, s.number, mostUsers)
	if err != nil {
		return 0, err
	}
	var lines []sighted
	var l sighted
	var raw pgtype.DriverBytes // not copied by the driver, but here, many to one piece of memory
	var memory []byte
	_, err = pgx.ForEachRow(rows, []any{&l.minute, &l.dimension, &l.key, &raw}, func() error {
		if cap(memory)-len(memory) < len(raw) {
			memory = make([]byte, 0, max(1<<20, len(raw)))
		}
		from := len(memory)
		memory = append(memory, raw...)
		l.users = memory[from:len(memory):len(memory)]
		lines = append(lines, l)
		return nil
	})
	if err != nil {
		return 0, err
	}
	slices.SortFunc(lines, func(a, b sighted) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.dimension, b.dimension), cmp.Compare(a.minute, b.minute))
	})
	if n = int64(len(lines)); n == 0 {
		return 0, nil
	}
	if err := s.tell(ctx, tx, lines); err != nil {
		return 0, err
	}
	for len(lines) > 0 {
		rest(ctx, time.Since(start), turnEnds)
		start = time.Now()
		end := cut(lines)
		if err := mergeUp(ctx, tx, lines[:end]); err != nil {
			return 0, err
		}
		lines = lines[end:]
	}
	return n, nil
}

// tell has whoever remembers sets of these lines' buckets read them again: see rollup.Folds.
// Each log has a row of its own, as both are folded at the same time, in transactions that
// last.
func (s share) tell(ctx context.Context, tx pgx.Tx, lines []sighted) error {
	for _, g := range grains {
		of := map[int32]struct{}{}
		for i := range lines {
			of[lines[i].minute/g.minutes*g.minutes] = struct{}{}
		}
		buckets := make([]time.Time, 0, len(of))
		for _, minute := range slices.Sorted(maps.Keys(of)) {
			buckets = append(buckets, time.Unix(int64(minute)*60, 0))
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO `+g.table+` (bucket, dimension, key_id, users)
			SELECT bucket, $1::smallint, $2::int, '' FROM unnest($3::timestamptz[]) AS bucket
			ON CONFLICT (dimension, bucket, key_id) DO UPDATE SET users = excluded.users`,
			int16(rollup.Folds), s.log, buckets)
		if err != nil {
			return fmt.Errorf("tell of a fold in %s: %w", g.table, err)
		}
	}
	return nil
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

// part is what one set is to grow by.
type part struct {
	place
	users *unique.Set
}

// place is where a set is in its table.
type place struct {
	minute    int32 // that the bucket begins with
	dimension int16 // users and sessions of one key differ in it
	key       int32
}

// at returns the last part, or a new one when that is of another place.
func at(parts []part, p place) ([]part, *unique.Set) {
	if n := len(parts); n == 0 || parts[n-1].place != p {
		parts = append(parts, part{p, new(unique.Set)})
	}
	return parts, parts[len(parts)-1].users
}

// mergeUp merges lines, which are in order, into all grains: into minutes, and the
// minutes into hours, and the hours into days.
func mergeUp(ctx context.Context, tx pgx.Tx, lines []sighted) error {
	var parts []part
	var set *unique.Set
	for _, l := range lines {
		parts, set = at(parts, place{l.minute, l.dimension, l.key})
		if err := set.Merge(l.users); err != nil {
			return err
		}
	}
	for i, g := range grains {
		var coarser []part
		if i+1 < len(grains) { // before merging: then a set has all that is in the table too
			coarser = grains[i+1].coarsen(parts)
		}
		if err := g.merge(ctx, tx, parts); err != nil {
			return fmt.Errorf("merge %s: %w", g.table, err)
		}
		parts = coarser
	}
	return nil
}

// coarsen unites parts of smaller buckets, in their order.
func (g grain) coarsen(parts []part) (coarser []part) {
	var set *unique.Set
	for _, p := range parts {
		coarser, set = at(coarser, place{p.minute / g.minutes * g.minutes, p.dimension, p.key})
		set.Union(p.users)
	}
	return coarser
}

// merge lets the table's sets grow. They are written only when they did: a day's big
// ones seldom do.
func (g grain) merge(ctx context.Context, tx pgx.Tx, parts []part) error {
	var buckets []time.Time
	var dimensions []int16
	var keys []int32
	for _, p := range parts {
		buckets, dimensions, keys = append(buckets, time.Unix(int64(p.minute)*60, 0)), append(dimensions, p.dimension), append(keys, p.key)
	}
	before := make([][]byte, len(parts))
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
		return parts[i].users.Merge(users)
	})
	if err != nil {
		return err
	}

	n := 0
	after := make([][]byte, 0, len(parts))
	for i, p := range parts {
		set, err := p.users.AppendBinary(nil)
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
