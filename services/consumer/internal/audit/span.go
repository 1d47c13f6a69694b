package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/consumer/internal/retention"
)

const day = 24 * time.Hour

// Span is a span of time: From is in it, To is not.
type Span struct{ From, To time.Time }

// ErrSpan is returned for a span that cannot be compared or rebuilt.
var (
	ErrSpan     = errors.New("the span must begin before it ends, both at a full hour (UTC)")
	ErrSpanDays = errors.New("the span must begin before it ends, both at midnight (UTC)")
)

func (s Span) whole(unit time.Duration) bool {
	return s.From.Before(s.To) && s.From.Equal(s.From.Truncate(unit)) && s.To.Equal(s.To.Truncate(unit))
}

// ErrDropped is returned for a span whose raw rows retention has dropped: there is
// nothing to compare the rollups with.
var ErrDropped = errors.New("retention has dropped the events of the whole span")

// Kept returns the part of a span whose raw rows are all there. What is before it is
// past the events' age: its rows may have been dropped, and late ones have come since.
// It is empty, From being To, when nothing is left of the span. A span that Verify would
// refuse ends with ErrSpan.
func Kept(ctx context.Context, pool *pgxpool.Pool, s Span) (kept Span, err error) {
	if !s.whole(time.Hour) {
		return s, ErrSpan
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		kept, err = s.kept(ctx, tx)
		return err
	})
	return kept, err
}

func (s Span) kept(ctx context.Context, tx pgx.Tx) (Span, error) {
	horizon, err := retention.Horizon(ctx, tx)
	if err != nil {
		return s, fmt.Errorf("find what retention has dropped: %w", err)
	}
	if from := horizon.Add(time.Hour - 1).Truncate(time.Hour); from.After(s.From) {
		s.From = from
	}
	if s.From.After(s.To) {
		s.From = s.To
	}
	return s, nil
}

// days cuts the span at each midnight.
func (s Span) days() iter.Seq[Span] { return s.cut(day) }

// hours cuts it at each full hour.
func (s Span) hours() iter.Seq[Span] { return s.cut(time.Hour) }

func (s Span) cut(unit time.Duration) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for from := s.From; from.Before(s.To); {
			to := from.Truncate(unit).Add(unit)
			if to.After(s.To) {
				to = s.To
			}
			if !yield(Span{from, to}) {
				return
			}
			from = to
		}
	}
}
