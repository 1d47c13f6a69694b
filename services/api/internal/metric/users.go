package metric

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
	"weir/services/shared/unique"
)

type usersInput struct {
	span.Between
	span.Known
	filter.Input
}

type usersAnswer struct {
	Meta  span.Meta `json:"meta"`
	Users int64     `json:"users" doc:"Unique users, by user_id, else anonymous_id" example:"48210"`
	Error float64   `json:"standard_error" doc:"Relative standard error of the number: 0 when it was counted, 0.0041 when it was estimated" example:"0.0041"`
}

func registerUsers(api huma.API, r reader) {
	huma.Register(api, huma.Operation{
		OperationID: "get-metrics-users", Method: http.MethodGet, Path: "/v1/metrics/users", Tags: []string{"Metrics"},
		Summary:     "Unique users of a range",
		Description: "Who did something that passes the filter, each counted once however long the range is. " + exactly,
		Security:    access.Required(), Errors: query.Errors, Responses: span.NotModified(),
	}, func(ctx context.Context, in *usersInput) (*span.Output[usersAnswer], error) {
		q, err := about(in.Between, in.Input)
		if err != nil {
			return nil, err
		}
		q.who = []who{users}
		var t Numbers
		meta, err := q.ask(ctx, r, func(ctx context.Context, c counter) error { return t.read(ctx, c, q.who) })
		if err != nil {
			return nil, err
		}
		out := &usersAnswer{Meta: meta, Users: *t.Users}
		if meta.ServedBy == span.Rollups && out.Users > unique.Exact {
			out.Error = unique.StandardError
		}
		return span.Answer(in.Known, out.Meta.To, out.Meta.AsOf, out)
	})
}
