package metric

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
)

// maxTypes bounds the list of a summary; the totals are over all types.
const maxTypes = 1000

type summaryInput struct {
	span.Between
	span.Known
	filter.Input
	Wanted
	Compare string `query:"compare" enum:"previous,year" doc:"Also the totals of another range: previous, as long and just before; year, the same dates a year before"`
}

type typeTotals struct {
	Type string `json:"type" example:"page_view"`
	Numbers
}

type otherTotals struct {
	From time.Time `json:"from" doc:"Start of the range that is compared with" example:"2025-12-31T00:00:00Z"`
	To   time.Time `json:"to" doc:"Its end, exclusive" example:"2026-01-01T00:00:00Z"`
	Numbers
}

type summary struct {
	Meta span.Meta `json:"meta"`
	Numbers
	ByType  []typeTotals `json:"by_type" nullable:"false" doc:"The same by event type, most frequent first; at most 1,000 types"`
	Compare *otherTotals `json:"compare,omitempty" doc:"Totals of the range that compare asks for"`
}

func registerSummary(api huma.API, r reader) {
	huma.Register(api, huma.Operation{
		OperationID: "get-metrics-summary", Method: http.MethodGet, Path: "/v1/metrics/summary", Tags: []string{"Metrics"},
		Summary: "Totals of a range",
		Description: "Number of events, sum of their values, unique users and sessions, as a whole and by type. Without `metrics`, " +
			"all four; without sessions where only the raw events could tell them. " + exactly,
		Security: access.Required(), Errors: query.Errors, Responses: span.NotModified(),
	}, func(ctx context.Context, in *summaryInput) (*span.Output[summary], error) {
		q, err := about(in.Between, in.Input)
		if err != nil {
			return nil, err
		}
		q.by, q.who = []string{"type"}, in.who()
		if in.Metrics == nil {
			q.who = []who{users, sessions}
			if _, why := q.rolled(); why != "" {
				q.who = q.who[:1]
			}
		}
		out := &summary{}
		if out.Meta, err = q.ask(ctx, r, func(ctx context.Context, c counter) error { return out.read(ctx, c, q.who) }); err != nil {
			return nil, err
		}
		if in.Compare == "" {
			return span.Answer(in.Known, out.Meta.To, out.Meta.AsOf, out)
		}
		s := q.Span
		q.by, q.compared, q.Span = nil, true, span.Span{From: s.From.Add(-s.Length()), To: s.From}
		if in.Compare == "year" {
			q.Span = yearBefore(s)
		}
		out.Compare = &otherTotals{From: q.From, To: q.To}
		if _, err := q.ask(ctx, r, func(ctx context.Context, c counter) error { return out.Compare.read(ctx, c, q.who) }); err != nil {
			return nil, err
		}
		return span.Answer(in.Known, out.Meta.To, out.Meta.AsOf, out)
	})
}

// yearBefore is the same dates of the year before. Instead of on 29 February, which that
// year does not have, it begins on the 28th and ends on 1 March, or is within the 28th.
func yearBefore(s span.Span) span.Span {
	before := span.Span{From: s.From.AddDate(-1, 0, 0), To: s.To.AddDate(-1, 0, 0)}
	if before.From.Day() != s.From.Day() {
		before.From = before.From.AddDate(0, 0, -1)
		if s.Length() < 24*time.Hour {
			before.To = before.From.Add(s.Length())
		}
	}
	return before
}

func (out *summary) read(ctx context.Context, c counter, asked []who) error {
	types, err := c.top(ctx, "type", math.MaxInt)
	if err != nil {
		return err
	}
	for _, t := range types {
		out.add(t.Numbers)
	}
	types = types[:min(maxTypes, len(types))]
	out.ByType = make([]typeTotals, len(types))
	for i, t := range types {
		out.ByType[i] = typeTotals{t.name, t.Numbers}
	}
	for _, w := range asked {
		cells, all, err := c.byType(ctx, w)
		if err != nil {
			return err
		}
		counts := map[string]int64{}
		for _, one := range cells {
			counts[one.labels[0]] = one.n
		}
		out.set(w, all)
		for i := range out.ByType {
			out.ByType[i].set(w, counts[out.ByType[i].Type])
		}
	}
	return nil
}

// read fills in the totals of all events of the question.
func (t *Numbers) read(ctx context.Context, c counter, asked []who) error {
	cells, err := c.count(ctx, nil, nil, false)
	if err != nil {
		return err
	}
	for _, one := range cells {
		t.add(one.Numbers)
	}
	for _, w := range asked {
		cells, err := c.unique(ctx, w, nil, nil, false)
		if err != nil {
			return err
		}
		t.set(w, 0)
		for _, one := range cells {
			t.set(w, one.n)
		}
	}
	return nil
}

// uniqueOf fills in the users and sessions of groups of a field.
func uniqueOf(ctx context.Context, c counter, asked []who, field string, groups []group) error {
	at := map[string]*Numbers{}
	names := make([]string, len(groups))
	for i := range groups {
		names[i] = groups[i].name
		at[names[i]] = &groups[i].Numbers
	}
	for _, w := range asked {
		cells, err := c.unique(ctx, w, []string{field}, map[string][]string{field: names}, false)
		if err != nil {
			return err
		}
		for _, t := range at {
			t.set(w, 0)
		}
		for _, one := range cells {
			at[one.labels[0]].set(w, one.n)
		}
	}
	return nil
}
