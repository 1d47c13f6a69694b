package metric

import (
	"fmt"
	"time"

	"weir/services/api/internal/query"
)

// maxSpan keeps a mistyped year from asking for all of time.
const maxSpan = 10 * 366 * 24 * time.Hour

// The years that may be named: wide of any event, and inside what RFC 3339 can write.
const minYear, maxYear = 1970, 2999

// Between are the parameters of every question over a range of time. It is exported,
// as are Filter and Meta, because Huma reads embedded structs only then.
type Between struct {
	From time.Time `query:"from" doc:"Start, inclusive (RFC 3339); rounded down to the minute. Default: 24 hours before the end" example:"2026-01-01T00:00:00Z"`
	To   time.Time `query:"to" doc:"End, exclusive (RFC 3339); rounded up to the minute. Default: now" example:"2026-01-02T00:00:00Z"`
}

// span is a range of whole minutes, the end exclusive: what rollups can answer.
type span struct{ from, to time.Time }

func (b Between) span(now time.Time) (span, error) {
	s := span{b.From.UTC(), b.To.UTC()}
	if b.To.IsZero() {
		s.to = now.UTC()
	}
	if b.From.IsZero() {
		s.from = s.to.Add(-24 * time.Hour)
	}
	if err := plausible("to", s.to); err != nil {
		return s, err
	}
	if err := plausible("from", s.from); err != nil {
		return s, err
	}
	s = span{s.from.Truncate(time.Minute), ceil(s.to, time.Minute)}
	if !s.from.Before(s.to) {
		return s, query.Invalid("from", "must be before to", s.from.Format(time.RFC3339))
	}
	if s.to.Sub(s.from) > maxSpan {
		return s, query.Invalid("from", fmt.Sprintf("must be at most %d days before to", maxSpan/(24*time.Hour)), s.from.Format(time.RFC3339))
	}
	return s, nil
}

func plausible(parameter string, t time.Time) error {
	if t.Year() < minYear || t.Year() > maxYear {
		return query.Invalid(parameter, fmt.Sprintf("must be in the years %d to %d", minYear, maxYear), t.Format(time.RFC3339))
	}
	return nil
}

func (s span) empty() bool { return !s.from.Before(s.to) }

func ceil(t time.Time, d time.Duration) time.Time {
	if down := t.Truncate(d); down.Equal(t) {
		return t
	} else {
		return down.Add(d)
	}
}

// Meta says what an answer is about.
type Meta struct {
	From     time.Time `json:"from" doc:"Start of the range that was used, inclusive" example:"2026-01-01T00:00:00Z"`
	To       time.Time `json:"to" doc:"End of the range that was used, exclusive" example:"2026-01-02T00:00:00Z"`
	ServedBy string    `json:"served_by" enum:"rollups,raw" doc:"What was counted. Both give the same numbers"`
	AsOf     time.Time `json:"as_of" doc:"Every event stored before this instant is counted" example:"2026-01-02T00:00:00.123456Z"`
}
