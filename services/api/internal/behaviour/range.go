package behaviour

import (
	"fmt"
	"time"

	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
)

// about is what a question is about: which range, and which of its events.
func about(b span.Between, in filter.Input) (span.Span, filter.Expr, error) {
	s, err := b.Span(time.Now())
	if err != nil {
		return s, filter.Expr{}, err
	}
	if s.To.Sub(s.From) > maxDays*24*time.Hour {
		return s, filter.Expr{}, query.Invalid("from", fmt.Sprintf(
			"must be at most %d days before to, as every event of the range is read", maxDays), s.From.Format(time.RFC3339))
	}
	where, err := in.Expr()
	return s, where, err
}
