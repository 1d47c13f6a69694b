package metric

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
	"weir/services/shared/rollup"
)

// question is what an operation wants to know: about which events, by which fields
// (two at most), in which buckets of time, and whether who did it is asked for.
type question struct {
	span.Span
	filter  filter.Expr
	by      []string
	buckets []time.Time // none is one bucket that holds all
	who     []who

	compared bool // whether its range is that of compare, not of from and to
}

// parameter is which says the range.
func (q question) parameter() string {
	if q.compared {
		return "compare"
	}
	return "from"
}

// about begins a question: of which range, and about which of its events. The error is
// the answer for the client.
func about(b span.Between, in filter.Input) (q question, err error) {
	if q.Span, err = b.Span(time.Now()); err == nil {
		q.filter, err = in.Expr()
	}
	return q, err
}

// counter answers the parts of a question, all of them in one snapshot. by is a part of
// the question's fields. For each field that keep has values for, only those are
// counted; events without the field are in no group.
type counter interface {
	// top ranks the values of a field by events, and at the same number by their text.
	top(ctx context.Context, field string, limit int) ([]group, error)
	// count counts events and values by fields and, if bucketed, by bucket.
	count(ctx context.Context, by []string, keep map[string][]string, bucketed bool) ([]cell, error)
	// byType counts users or sessions of each type, and of all of them together.
	byType(ctx context.Context, w who) (types []cell, all int64, err error)
	// unique counts users or sessions by fields and, if bucketed, by bucket.
	unique(ctx context.Context, w who, by []string, keep map[string][]string, bucketed bool) ([]cell, error)
}

// group is a value of a field, and what its events add up to.
type group struct {
	name string
	Numbers
}

// cell is what one bucket and one value of each field have. n is what unique counts.
type cell struct {
	bucket int // index of the bucket, 0 if not bucketed
	labels [2]string
	Numbers
	n int64
}

// What rollups answer takes milliseconds. The planner sees tens of chunks and starts
// workers, which takes ten times as long. (Of raw events see most.)
const alone = `SET LOCAL max_parallel_workers_per_gather = 0`

// The sixth time PostgreSQL makes a plan for all ranges at once, with each of the chunks for
// each of the parts: with 400 and 60 of them, that took a second.
const (
	planned  = `SET LOCAL plan_cache_mode = force_custom_plan`
	fewParts = 5 // of a range without buckets
)

// ask has fn read from the rollups if they can answer, else from the raw events, which
// gives the same numbers; the error says then if they would be too many.
func (q question) ask(ctx context.Context, r reader, fn func(context.Context, counter) error) (span.Meta, error) {
	meta := span.Meta{From: q.From, To: q.To}
	var err error
	meta.AsOf, err = r.Ask(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rolled, why := q.rolled()
		if why == "" {
			settings := []string{alone}
			if len(rolled.parts(len(q.buckets) > 0)) > fewParts {
				settings = append(settings, planned)
			}
			if err := query.Kept(ctx, tx, q.parameter(), rolled.needs(), settings...); err != nil {
				return err
			}
			rolled.tx, rolled.memory = tx, r.memory
			rolled.current, rolled.known = map[bool]func(part, time.Time) version{}, map[told][]*folds{}
			var err error
			if why, err = rolled.resolve(ctx); err != nil {
				return err
			}
			if why == "" {
				meta.ServedBy = span.Rollups
				return fn(ctx, rolled)
			}
		}
		// The same dates a year before may be a leap day longer than what is compared with
		// them, which was looked at.
		if err := q.Raw(why); err != nil && !q.compared {
			return err
		}
		meta.ServedBy = span.Raw
		raw := &raw{tx: tx, question: q}
		if err := raw.load(ctx); err != nil {
			return err
		}
		return fn(ctx, raw)
	})
	return meta, err
}

// rolled tells how rollups answer the question, or why they cannot. They count by type,
// alone and crossed with one dimension; sessions by type alone.
func (q question) rolled() (r rollups, why string) {
	parts, ok := q.filter.Fields()
	if !ok {
		return r, "this filter"
	}
	r = rollups{question: q, unlisted: map[string]filter.Expr{}}
	crossed := map[string]bool{}
	for _, field := range q.by {
		crossed[field] = true
	}
	for field, part := range parts {
		crossed[field] = true
		lists, ok := part.Lists()
		if !ok {
			// Every event has a type and a source, but those without one of the other fields
			// are in no group of it.
			if field != "type" && field != "source" && part.MatchText(field, "") {
				return r, "a filter that takes events without " + field
			}
			r.unlisted[field] = part
			continue
		}
		values := lists[field]
		r.list(field, &values)
	}
	delete(crossed, "type")
	var names []string
	for name := range crossed {
		names = append(names, name)
		if d, known := rollup.ParseDimension(name); known && d != rollup.All {
			r.dimension = d
		} else {
			return r, name
		}
	}
	slices.Sort(names)
	switch {
	case len(names) > 1:
		return r, strings.Join(names, " together with ")
	case len(names) == 1 && slices.Contains(q.who, sessions):
		return r, "sessions together with " + names[0]
	}
	return r, ""
}
