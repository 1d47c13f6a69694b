// Package audit holds the rollups to the raw rows that they count: Verify tells
// where they differ, Rebuild mends them. Both work while events flow.
package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/shared/rollup"
)

// Difference is one bucket of one key that does not hold what its rows give: other
// counts, or other users.
type Difference struct {
	Grain  string // minute, hour or day
	Bucket time.Time
	Key    rollup.Key // Type is "" when the database does not know the key
	Raw    fmt.Stringer
	Rolled fmt.Stringer // rollup and log together
}

// Tally is a count and an exact sum.
type Tally struct {
	Events int64
	Sum    string // decimal
}

func (t Tally) String() string { return fmt.Sprintf("%d events, value %s", t.Events, t.Sum) }

// Users is how many users a set has. Two sets with as many users may differ.
type Users int64

func (u Users) String() string { return fmt.Sprintf("%d users", int64(u)) }

var verify = `WITH ` + differences + `
SELECT d.grain, d.bucket, d.dimension, coalesce(d.type, k.type, ''), coalesce(d.value, k.value, ''),
       d.raw_events, trim_scale(d.raw_total / 1000000)::text,
       d.rolled_events, trim_scale(d.rolled_total / 1000000)::text
FROM differences d LEFT JOIN rollup_keys k ON k.id = d.key_id
ORDER BY d.bucket, array_position('{day,hour,minute}', d.grain), d.dimension, 4, 5`

// Verify compares the rollups of all grains over a span with the raw rows, in one
// snapshot, and calls found for each difference. The span begins and ends at full
// hours, else the error is ErrSpan; the rollup by day is compared for the days that
// lie in it wholly. What is not Kept is left out; when nothing is kept the error is
// ErrDropped.
//
// The snapshot is held to the end, which keeps vacuum from tidying: for long spans,
// choose a quiet hour.
func Verify(ctx context.Context, pool *pgxpool.Pool, s Span, found func(Difference)) error {
	if !s.whole(time.Hour) {
		return ErrSpan
	}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, pool, snapshot, func(tx pgx.Tx) error {
		s, err := s.kept(ctx, tx)
		if err != nil {
			return err
		}
		if s.From.Equal(s.To) {
			return ErrDropped
		}
		for part := range s.days() { // bounds the memory that the counting takes
			if err := verifyCounts(ctx, tx, part, found); err != nil {
				return err
			}
			err := compareUsers(ctx, tx, part, func(k keyed, p place, b *sides) error {
				found(Difference{grains[p.grain].name, p.bucket, rollup.Key{Dimension: k.dimension, Type: k.typ, Value: k.value},
					Users(b.raw.Count()), Users(b.rolled.Count())})
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare rollups with raw rows: %w", err)
	}
	return nil
}

func verifyCounts(ctx context.Context, tx pgx.Tx, part Span, found func(Difference)) error {
	rows, err := tx.Query(ctx, verify, part.From, part.To, part.whole(day))
	if err != nil {
		return err
	}
	var d Difference
	var raw, rolled Tally
	_, err = pgx.ForEachRow(rows, []any{
		&d.Grain, &d.Bucket, &d.Key.Dimension, &d.Key.Type, &d.Key.Value, &raw.Events, &raw.Sum, &rolled.Events, &rolled.Sum,
	}, func() error {
		d.Bucket, d.Raw, d.Rolled = d.Bucket.UTC(), raw, rolled
		found(d)
		return nil
	})
	return err
}
