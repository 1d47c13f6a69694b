// Package span is what all questions over a range of time have in common: the
// parameters that say which, and what an answer says of it.
package span

import (
	"fmt"
	"time"

	"weir/services/api/internal/query"
)

// Max keeps a mistyped year from asking for all of time.
const Max = 10 * 366 * 24 * time.Hour

// The years that may be named: wide of any event, and inside what RFC 3339 can write.
const minYear, maxYear = 1970, 2999

// Between are the parameters of every question over a range of time; operations embed
// it.
type Between struct {
	From time.Time `query:"from" doc:"Start, inclusive (RFC 3339); rounded down to the minute. In the years 1970 to 2999, and at most 3,660 days before the end where no other limit is stated. Default: 24 hours before the end" example:"2026-01-01T00:00:00Z"`
	To   time.Time `query:"to" doc:"End, exclusive (RFC 3339); rounded up to the minute. In the years 1970 to 2999. Default: now" example:"2026-01-02T00:00:00Z"`
}

// Span is a range of whole minutes in UTC, the end exclusive: what rollups can answer.
type Span struct{ From, To time.Time }

// Span returns the range that is asked for, rounded outward. The error is a 422
// problem that names the parameter: a time that no event can have, a range that is
// reversed or longer than Max.
func (b Between) Span(now time.Time) (Span, error) {
	s := Span{b.From.UTC(), b.To.UTC()}
	if b.To.IsZero() {
		s.To = now.UTC()
	}
	if b.From.IsZero() {
		s.From = s.To.Add(-24 * time.Hour)
	}
	if err := plausible("to", s.To); err != nil {
		return s, err
	}
	if err := plausible("from", s.From); err != nil {
		return s, err
	}
	s = Span{s.From.Truncate(time.Minute), Ceil(s.To, time.Minute)}
	if s.Empty() {
		return s, query.Invalid("from", "must be before to", s.From.Format(time.RFC3339))
	}
	if s.Length() > Max {
		return s, query.Invalid("from", fmt.Sprintf("must be at most %d days before to", Max/(24*time.Hour)), s.From.Format(time.RFC3339))
	}
	return s, nil
}

func plausible(parameter string, t time.Time) error {
	if t.Year() < minYear || t.Year() > maxYear {
		return query.Invalid(parameter, fmt.Sprintf("must be in the years %d to %d", minYear, maxYear), t.Format(time.RFC3339))
	}
	return nil
}

// Empty reports whether there is nothing between the ends.
func (s Span) Empty() bool { return !s.From.Before(s.To) }

// Length is how long it is.
func (s Span) Length() time.Duration { return s.To.Sub(s.From) }

// Ceil rounds t up to a multiple of d since the zero time, as Truncate rounds down.
func Ceil(t time.Time, d time.Duration) time.Time {
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
	ServedBy Served    `json:"served_by" enum:"rollups,raw" doc:"What was counted. Both give the same numbers"`
	AsOf     time.Time `json:"as_of" doc:"Every event stored before this instant is counted" example:"2026-01-02T00:00:00.123456Z"`
}

// Served is what answered a question.
type Served string

// Rollups are counts kept by minute, hour and day; Raw are the events themselves.
const (
	Rollups Served = "rollups"
	Raw     Served = "raw"
)

// MaxRaw bounds what is read row by row.
const MaxRaw = 7 * 24 * time.Hour

// Raw reports, as a 422 problem, that the span is too long to be answered from the raw
// events; why says which parameter needs them, as in "group_by=path with source".
func (s Span) Raw(why string) error {
	if s.Length() > MaxRaw {
		return query.Invalid("from", fmt.Sprintf("must be at most %d days before to, as %s is answered from the raw events: ask for a shorter range, or without it",
			MaxRaw/(24*time.Hour), why), s.From.Format(time.RFC3339))
	}
	return nil
}
