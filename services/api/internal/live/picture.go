package live

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/query"
	"weir/services/shared/rollup"
)

// picture is the window as the database had it at one instant, with which
// transactions had committed by then.
type picture struct {
	number  int // of the survey that it is for
	err     error
	counts  window
	values  *values // nil unless they were asked for
	commits visibility
}

// visibility is a snapshot of PostgreSQL's: the transactions that it sees.
type visibility struct {
	xmin, xmax uint64   // all before xmin have ended, none from xmax on
	running    []uint64 // between the two
}

// sees reports whether what the transaction committed is in the snapshot.
func (v visibility) sees(xid uint64) bool {
	return xid < v.xmin || xid < v.xmax && !slices.Contains(v.running, xid)
}

// parseVisibility reads the text of pg_current_snapshot(): xmin:xmax:xid,xid,...
func parseVisibility(s string) (v visibility, err error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return v, fmt.Errorf("read snapshot: %q has not three parts", s)
	}
	if v.xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return v, fmt.Errorf("read snapshot: %w", err)
	}
	if v.xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return v, fmt.Errorf("read snapshot: %w", err)
	}
	for text := range strings.SplitSeq(parts[2], ",") {
		if text == "" {
			continue
		}
		xid, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return v, fmt.Errorf("read snapshot: %w", err)
		}
		v.running = append(v.running, xid)
	}
	return v, nil
}

type painter struct{ reader *query.Reader }

const pictureSQL = `
SELECT (extract(epoch FROM bucket) / 60)::integer, type, sum(events)::bigint, sum(minutes.value)::text
FROM minutes JOIN rollup_keys ON id = key_id
WHERE minutes.dimension = $1 AND bucket >= $2
GROUP BY 1, 2`

// The most frequent come first: what there is no room for is rare.
const valuesSQL = `
SELECT (extract(epoch FROM bucket) / 60)::integer, minutes.dimension, rollup_keys.value, sum(events)::bigint
FROM minutes JOIN rollup_keys ON id = key_id
WHERE minutes.dimension <> $1 AND bucket >= $2
GROUP BY 1, 2, 3
ORDER BY 4 DESC
LIMIT $3`

// paint takes a picture from a minute on. The transaction is repeatable read, so the
// snapshot that the first statement names is the one that the others read.
func (p painter) paint(ctx context.Context, from int32, withValues bool) (picture, error) {
	out := picture{counts: window{}}
	_, err := p.reader.Read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var snapshot string
		if err := tx.QueryRow(ctx, "SELECT pg_current_snapshot()::text").Scan(&snapshot); err != nil {
			return err
		}
		var err error
		if out.commits, err = parseVisibility(snapshot); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, pictureSQL, int16(rollup.All), timeOf(from))
		if err != nil {
			return err
		}
		var c cell
		var n count
		_, err = pgx.ForEachRow(rows, []any{&c.minute, &c.kind, &n.events, &n.value}, func() error {
			out.counts[c] = n
			return nil
		})
		if err != nil || !withValues {
			return err
		}
		rows, err = tx.Query(ctx, valuesSQL, int16(rollup.All), timeOf(from), maxValues+1)
		if err != nil {
			return err
		}
		out.values = newValues()
		var v valueDelta
		_, err = pgx.ForEachRow(rows, []any{&v.minute, (*int16)(&v.key.dimension), &v.key.name, &v.events}, func() error {
			out.values.add(&v)
			return nil
		})
		return err
	})
	if err != nil {
		return picture{}, fmt.Errorf("read live window: %w", err)
	}
	return out, nil
}
