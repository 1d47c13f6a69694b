package audit

import (
	"errors"
	"iter"
	"time"
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

// days cuts the span at each midnight.
func (s Span) days() iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for from := s.From; from.Before(s.To); {
			to := from.Truncate(day).Add(day)
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
