package metric

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
)

type topInput struct {
	span.Between
	span.Known
	filter.Input
	Wanted
	By    string `query:"by" required:"true" enum:"type,source,path,referrer,country,device,browser,os" doc:"The field whose values are ranked" example:"path"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"10" doc:"How many values are shown; with users or sessions at most 100"`
}

type topItem struct {
	Name  string  `json:"name" doc:"The field's value" example:"/pricing"`
	Share float64 `json:"share" minimum:"0" maximum:"1" doc:"Of all events of the range that pass the filter" example:"0.25"`
	Numbers
}

type topOther struct {
	Share float64 `json:"share" minimum:"0" maximum:"1" doc:"Of all events" example:"0.4"`
	Numbers
}

type topMeta struct {
	span.Meta
	By string `json:"by" example:"path"`
}

type top struct {
	Meta  topMeta   `json:"meta"`
	Total Numbers   `json:"total" doc:"All events, those without the field included"`
	Items []topItem `json:"items" nullable:"false" doc:"Most events first"`
	Other topOther  `json:"other" doc:"All else: the other values, and the events that have none"`
}

// maxUnique bounds the groups whose users are counted.
const maxUnique = 100

func registerTop(api huma.API, r reader) {
	huma.Register(api, huma.Operation{
		OperationID: "get-metrics-top", Method: http.MethodGet, Path: "/v1/metrics/top", Tags: []string{"Metrics"},
		Summary:     "Most frequent values of a field",
		Description: "The values of a field with the most events, their share of all events, and all else. " + exactly,
		Security:    access.Required(), Errors: query.Errors, Responses: span.NotModified(),
	}, func(ctx context.Context, in *topInput) (*span.Output[top], error) {
		q, err := about(in.Between, in.Input)
		if err != nil {
			return nil, err
		}
		q.by, q.who = []string{in.By}, in.who()
		if len(q.who) > 0 && in.Limit > maxUnique {
			return nil, query.Invalid("limit", "must be at most 100 when users or sessions are counted: ask for fewer, or leave them out of metrics", in.Limit)
		}
		out := &top{Meta: topMeta{By: in.By}}
		out.Meta.Meta, err = q.ask(ctx, r, func(ctx context.Context, c counter) error {
			return out.read(ctx, c, q, in.Limit)
		})
		if err != nil {
			return nil, err
		}
		return span.Answer(in.Known, out.Meta.To, out.Meta.AsOf, out)
	})
}

func (out *top) read(ctx context.Context, c counter, q question, limit int) error {
	if err := out.Total.read(ctx, c, q.who); err != nil {
		return err
	}
	groups, err := c.top(ctx, q.by[0], limit)
	if err != nil {
		return err
	}
	if err := uniqueOf(ctx, c, q.who, q.by[0], groups); err != nil {
		return err
	}
	out.Other.add(out.Total)
	out.Items = make([]topItem, len(groups))
	for i, g := range groups {
		out.Items[i] = topItem{g.name, share(g.Events, out.Total.Events), g.Numbers}
		out.Other.sub(g.Numbers)
	}
	out.Other.Share = share(out.Other.Events, out.Total.Events)
	return nil
}

func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
