package metric

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/maypok86/otter/v2"

	"weir/services/api/internal/query"
	"weir/services/shared/rollup"
)

// reader reads for this package's questions.
type reader struct {
	*query.Reader
	memory *memory
}

// memory keeps what was read of the rollups. A month of a busy site is hundreds of
// thousands of counts, and megabytes of sets of users, of which next to nothing changes
// from one question to the next. What did change, each question asks the database first:
// so its answer is the same as without a memory.
type memory struct {
	blocks *otter.Cache[place, *block]
	unions *otter.Cache[stretch, *union]
	counts *otter.Cache[audience, int64]
	names  names
}

// countSize is about how many bytes the number of an audience takes.
const countSize = 150

// newMemory keeps size bytes at most: half of them counts, and the others sets or what was
// counted from them.
func newMemory(size uint64) *memory {
	return &memory{
		blocks: otter.Must(&otter.Options[place, *block]{
			MaximumWeight: size / 2, Weigher: func(_ place, b *block) uint32 { return b.bytes() },
		}),
		unions: otter.Must(&otter.Options[stretch, *union]{
			MaximumWeight: size / 2 / 8 * 7, Weigher: func(_ stretch, u *union) uint32 { return u.bytes() },
		}),
		counts: otter.Must(&otter.Options[audience, int64]{MaximumSize: int(size / 2 / 8 / countSize)}),
	}
}

// names are the keys of the rollups by their numbers, which never change.
type names struct {
	mu sync.RWMutex
	of map[int32]name
}

// name is what a key counts: its type, and its value of the dimension.
type name struct{ typ, value string }

func (n name) of(field string) string {
	if field == "type" {
		return n.typ
	}
	return n.value
}

// maxNames bounds the memory that they take, to some 30 MB.
const maxNames = 300_000

// read returns the names of keys, in their order.
func (n *names) read(ctx context.Context, tx pgx.Tx, keys []int32) ([]name, error) {
	found := make([]name, len(keys))
	missing := map[int32]int{} // where it belongs
	n.mu.RLock()
	for i, k := range keys {
		one, ok := n.of[k]
		if found[i] = one; !ok {
			missing[k] = i
		}
	}
	n.mu.RUnlock()
	if len(missing) == 0 {
		return found, nil
	}
	rows, err := tx.Query(ctx, `SELECT id, type, value FROM rollup_keys WHERE id = ANY ($1)`, slices.Collect(maps.Keys(missing)))
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil || len(n.of)+len(missing) > maxNames {
		n.of = map[int32]name{}
	}
	var id int32
	var one name
	_, err = pgx.ForEachRow(rows, []any{&id, &one.typ, &one.value}, func() error {
		found[missing[id]], n.of[id] = one, one
		return nil
	})
	return found, err
}

// version is of a bucket's counts: the same as long as they are.
type version struct{ folds, rebuilds int64 }

// versions returns the version of each bucket of parts. One that nothing was folded into
// has that of 0 folds.
func versions(ctx context.Context, tx pgx.Tx, parts []part) (func(part, time.Time) version, error) {
	var s statement
	dimension := s.arg(int16(rollup.Folds))
	selects := []string{"SELECT 0, 0::bigint, " + query.Rebuilds}
	for _, p := range parts {
		selects = append(selects, fmt.Sprintf("SELECT %d, extract(epoch FROM bucket)::bigint, events FROM %s WHERE dimension = %s AND bucket >= %s AND bucket < %s",
			p.size/time.Minute, p.folded, dimension, s.arg(p.From), s.arg(p.To)))
	}
	rows, err := tx.Query(ctx, strings.Join(selects, "\nUNION ALL\n"), s.args...)
	if err != nil {
		return nil, err
	}
	folds := map[place]int64{}
	at := place{dimension: rollup.Folds}
	var n, made int64
	_, err = pgx.ForEachRow(rows, []any{&at.minutes, &at.bucket, &n}, func() error {
		if at.minutes == 0 {
			made = n
		} else {
			folds[at] = n
		}
		return nil
	})
	return func(p part, bucket time.Time) version { return version{folds[p.place(rollup.Folds, bucket)], made} }, err
}
