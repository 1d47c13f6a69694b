package metric

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/access"
	"weir/services/api/internal/decimal"
	"weir/services/api/internal/query"
)

type timeseriesInput struct {
	Between
	Filter
	Interval string `query:"interval" enum:"minute,hour,day" default:"hour" doc:"Length of a bucket. Hours and days are UTC's"`
	GroupBy  string `query:"group_by" enum:"type,source,path,referrer,country,device,browser,os" doc:"One series for each of the most frequent values of this field, and one for all else"`
	Limit    int    `query:"limit" minimum:"1" maximum:"50" default:"5" doc:"How many groups are shown apart"`
}

type point struct {
	Time   time.Time      `json:"time" doc:"Start of the bucket" example:"2026-01-01T10:00:00Z"`
	Events int64          `json:"events" example:"42"`
	Value  decimal.Micros `json:"value"`
}

type series struct {
	Group  *string        `json:"group,omitempty" doc:"The value that the events have in common; absent without group_by, and in the series of all else" example:"/pricing"`
	Other  bool           `json:"other" doc:"Whether this is all else: the other values, and the events that have none"`
	Events int64          `json:"events" doc:"Sum over the points" example:"420"`
	Value  decimal.Micros `json:"value" doc:"Sum over the points"`
	Points []point        `json:"points" nullable:"false" doc:"One for every bucket, those without events included"`
}

type timeseriesMeta struct {
	Meta
	Interval string `json:"interval" example:"hour"`
	GroupBy  string `json:"group_by,omitempty" example:"path"`
}

type timeseries struct {
	Meta   timeseriesMeta `json:"meta"`
	Series []series       `json:"series" nullable:"false" doc:"Most events first; all else last. Together they are all events"`
}

type timeseriesOutput struct{ Body timeseries }

func registerTimeseries(api huma.API, r *query.Reader) {
	huma.Register(api, huma.Operation{
		OperationID: "get-metrics-timeseries", Method: http.MethodGet, Path: "/v1/metrics/timeseries", Tags: []string{"Metrics"},
		Summary: "Totals over time",
		Description: "Number of events and sum of their values in every bucket of a range, also by the most frequent values of a " +
			"field. Counts equal the stored events at any instant, late ones included. The range is rounded outward to whole " +
			"minutes; the first and last bucket hold what lies inside it. A series has at most 2,000 buckets. " +
			"A filter by source together with a grouping by another field than type is answered from the raw events, over at most 7 days.",
		Security: access.Required(), Errors: query.Errors,
	}, func(ctx context.Context, in *timeseriesInput) (*timeseriesOutput, error) {
		s, err := in.span(time.Now())
		if err != nil {
			return nil, err
		}
		buckets, err := interval(in.Interval).buckets(s)
		if err != nil {
			return nil, err
		}
		question := chooseQuestion(s, in)
		if question.raw && s.to.Sub(s.from) > maxRawSpan {
			return nil, query.Invalid("source", "together with group_by="+in.GroupBy+
				" is answered from the raw events, over at most 7 days: ask for a shorter range, or leave one out", in.Source)
		}
		var rows []row
		asOf, err := r.Ask(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			rows, err = question.read(ctx, tx)
			return err
		})
		if err != nil {
			return nil, err
		}
		return &timeseriesOutput{timeseries{
			Meta:   timeseriesMeta{Meta{s.from, s.to, question.servedBy(), asOf}, in.Interval, in.GroupBy},
			Series: assemble(buckets, rows, in.GroupBy != ""),
		}}, nil
	})
}

// row is one line of the answer from SQL: one bucket of the total (no label) or of
// one group.
type row struct {
	label  *string
	bucket time.Time
	events int64
	value  decimal.Micros
}

// assemble fills the gaps and finds all else: the total less the groups.
func assemble(buckets []time.Time, rows []row, grouped bool) []series {
	at := make(map[int64]int, len(buckets))
	for i, t := range buckets {
		at[t.Unix()] = i
	}
	blank := func(group *string) series {
		points := make([]point, len(buckets))
		for i, t := range buckets {
			points[i].Time = t
		}
		return series{Group: group, Points: points}
	}
	total := blank(nil)
	var groups []series // rows come group by group, the largest first
	for _, r := range rows {
		s := &total
		if r.label != nil {
			if len(groups) == 0 || *groups[len(groups)-1].Group != *r.label {
				groups = append(groups, blank(r.label))
			}
			s = &groups[len(groups)-1]
		}
		p := &s.Points[at[r.bucket.Unix()]]
		p.Events, p.Value = r.events, r.value
		s.Events, s.Value = s.Events+r.events, s.Value.Add(r.value)
	}
	if !grouped {
		return []series{total}
	}
	total.Other = true
	for _, g := range groups {
		total.Events, total.Value = total.Events-g.Events, total.Value.Sub(g.Value)
		for i, p := range g.Points {
			o := &total.Points[i]
			o.Events, o.Value = o.Events-p.Events, o.Value.Sub(p.Value)
		}
	}
	return append(groups, total)
}
