package metric

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
)

type timeseriesInput struct {
	span.Between
	span.Known
	filter.Input
	Wanted
	Interval string `query:"interval" enum:"minute,hour,day,week,month" default:"hour" doc:"Length of a bucket. Weeks begin on Monday"`
	Timezone string `query:"timezone" maxLength:"64" default:"UTC" doc:"IANA name of the time zone that hours, days, weeks and months are of" example:"Europe/Berlin"`
	GroupBy  string `query:"group_by" enum:"type,source,path,referrer,country,device,browser,os" doc:"One series for each of the most frequent values of this field, and one for all else"`
	Limit    int    `query:"limit" minimum:"1" maximum:"50" default:"5" doc:"How many groups are shown apart"`
}

type point struct {
	Time time.Time `json:"time" doc:"Start of the bucket, in the time zone" example:"2026-01-01T10:00:00Z"`
	Numbers
}

type series struct {
	Group *string `json:"group,omitempty" doc:"The value that the events have in common; absent without group_by, and in the series of all else" example:"/pricing"`
	Other bool    `json:"other" doc:"Whether this is all else: the other values, and the events that have none"`
	Numbers
	Points []point `json:"points" nullable:"false" doc:"One for every bucket, those without events included"`
}

type timeseriesMeta struct {
	span.Meta
	Interval string `json:"interval" example:"hour"`
	Timezone string `json:"timezone" example:"Europe/Berlin"`
	GroupBy  string `json:"group_by,omitempty" example:"path"`
}

type timeseries struct {
	Meta   timeseriesMeta `json:"meta"`
	Series []series       `json:"series" nullable:"false" doc:"Most events first; all else last. Together they are all events"`
}

func registerTimeseries(api huma.API, r reader) {
	huma.Register(api, huma.Operation{
		OperationID: "get-metrics-timeseries", Method: http.MethodGet, Path: "/v1/metrics/timeseries", Tags: []string{"Metrics"},
		Summary: "Totals over time",
		Description: "The numbers of every bucket of a range, also by the most frequent values of a field. The first and last bucket " +
			"hold what of them lies in the range. A series has at most 2,000 buckets. " + exactly,
		Security: access.Required(), Errors: query.Errors, Responses: span.NotModified(),
	}, func(ctx context.Context, in *timeseriesInput) (*span.Output[timeseries], error) {
		q, err := about(in.Between, in.Input)
		if err != nil {
			return nil, err
		}
		zone, err := span.Zone(in.Timezone)
		if err != nil {
			return nil, err
		}
		if q.buckets, err = span.Interval(in.Interval).Buckets(q.Span, zone); err != nil {
			return nil, err
		}
		q.who = in.who()
		if in.GroupBy != "" {
			q.by = []string{in.GroupBy}
		}
		out := &timeseries{Meta: timeseriesMeta{Interval: in.Interval, Timezone: in.Timezone, GroupBy: in.GroupBy}}
		out.Meta.Meta, err = q.ask(ctx, r, func(ctx context.Context, c counter) (err error) {
			out.Series, err = q.series(ctx, c, in.Limit)
			return err
		})
		if err != nil {
			return nil, err
		}
		return span.Answer(in.Known, out.Meta.To, out.Meta.AsOf, out)
	})
}

// series reads the total and, when grouped, the largest groups. All else is the total
// less the groups, so that together they are always all events, and the many small
// groups are never read bucket by bucket.
func (q question) series(ctx context.Context, c counter, limit int) ([]series, error) {
	total := []series{q.blank(nil)}
	if len(q.by) == 0 {
		return total, q.fill(ctx, c, nil, nil, total)
	}
	groups, err := c.top(ctx, q.by[0], limit)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(groups))
	list := make([]series, len(groups), len(groups)+1)
	for i := range groups {
		names[i] = groups[i].name
		list[i] = q.blank(&names[i])
	}
	uncounted := q
	uncounted.who = nil // of all else
	if err := uncounted.fill(ctx, c, nil, nil, total); err != nil {
		return nil, err
	}
	if err := q.fill(ctx, c, q.by, map[string][]string{q.by[0]: names}, list); err != nil {
		return nil, err
	}
	other := total[0]
	other.Other = true
	for _, s := range list {
		other.sub(s.Numbers)
		for i, p := range s.Points {
			other.Points[i].sub(p.Numbers)
		}
	}
	return append(list, other), nil
}

func (q question) blank(group *string) series {
	points := make([]point, len(q.buckets))
	for i, t := range q.buckets {
		points[i].Time = t
	}
	return series{Group: group, Points: points}
}

// fill reads the numbers of series, which are found by their group.
func (q question) fill(ctx context.Context, c counter, by []string, keep map[string][]string, list []series) error {
	find := func(label string) *series {
		return &list[slices.IndexFunc(list, func(s series) bool { return s.Group == nil || *s.Group == label })]
	}
	cells, err := c.count(ctx, by, keep, true)
	if err != nil {
		return err
	}
	for _, one := range cells {
		s := find(one.labels[0])
		s.Points[one.bucket].add(one.Numbers)
		s.add(one.Numbers)
	}
	for _, w := range q.who {
		for i := range list {
			list[i].set(w, 0)
			for j := range list[i].Points {
				list[i].Points[j].set(w, 0)
			}
		}
		for _, bucketed := range []bool{true, false} {
			cells, err := c.unique(ctx, w, by, keep, bucketed)
			if err != nil {
				return err
			}
			for _, one := range cells {
				t := &find(one.labels[0]).Numbers
				if bucketed {
					t = &find(one.labels[0]).Points[one.bucket].Numbers
				}
				t.set(w, one.n)
			}
		}
	}
	return nil
}
