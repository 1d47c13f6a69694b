package metric

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/access"
	"weir/services/api/internal/decimal"
	"weir/services/api/internal/query"
	"weir/services/shared/unique"
)

// maxTypes bounds the list of a summary; the totals are over all types.
const maxTypes = 1000

type summaryInput struct {
	Between
	Filter
}

type typeCount struct {
	Type   string         `json:"type" example:"page_view"`
	Events int64          `json:"events" example:"1200"`
	Value  decimal.Micros `json:"value"`
	Users  int64          `json:"users" doc:"Unique users who did it" example:"310"`
}

type summary struct {
	Meta   Meta           `json:"meta"`
	Events int64          `json:"events" doc:"How many events happened in the range" example:"1234"`
	Value  decimal.Micros `json:"value" doc:"Sum of their values"`
	Users  int64          `json:"users" doc:"Unique users, by user_id, else anonymous_id. Exact up to 16,384; beyond, a HyperLogLog estimate with a standard error of 0.41%" example:"420"`
	ByType []typeCount    `json:"by_type" nullable:"false" doc:"The same by event type, most frequent first; at most 1,000 types"`
}

type summaryOutput struct{ Body summary }

func registerSummary(api huma.API, r *query.Reader) {
	huma.Register(api, huma.Operation{
		OperationID: "get-metrics-summary", Method: http.MethodGet, Path: "/v1/metrics/summary", Tags: []string{"Metrics"},
		Summary: "Totals of a range",
		Description: "Number of events, sum of their values and unique users, as a whole and by type. Counts equal the stored events at any " +
			"instant, late ones included. The range is rounded outward to whole minutes; `meta` says which was used.",
		Security: access.Required(), Errors: query.Errors,
	}, func(ctx context.Context, in *summaryInput) (*summaryOutput, error) {
		s, err := in.span(time.Now())
		if err != nil {
			return nil, err
		}
		out := &summaryOutput{summary{ByType: []typeCount{}}}
		asOf, err := r.Ask(ctx, func(ctx context.Context, tx pgx.Tx) error { return out.Body.read(ctx, tx, s, in.Filter) })
		if err != nil {
			return nil, err
		}
		out.Body.Meta = Meta{s.from, s.to, "rollups", asOf}
		return out, nil
	})
}

// read fills the totals and the list. The totals are over all types, and come with
// every row.
func (out *summary) read(ctx context.Context, tx pgx.Tx, s span, f Filter) error {
	var q statement
	sql := `
WITH cell AS (
    ` + q.cells(s, 24*time.Hour, f.dimension()) + `
), key AS (
    ` + q.keys(f, f.dimension(), "type") + `
)
SELECT label, sum(events)::bigint, sum(value)::text,
       (sum(sum(events)) OVER ())::bigint, (sum(sum(value)) OVER ())::text
FROM cell JOIN key ON id = key_id
GROUP BY label
ORDER BY sum(events) DESC, label
LIMIT ` + q.arg(maxTypes)
	rows, err := tx.Query(ctx, sql, q.args...)
	if err != nil {
		return err
	}
	var t typeCount
	_, err = pgx.ForEachRow(rows, []any{&t.Type, &t.Events, &t.Value, &out.Events, &out.Value}, func() error {
		out.ByType = append(out.ByType, t)
		return nil
	})
	if err != nil {
		return err
	}
	return out.readUsers(ctx, tx, s, f)
}

// readUsers merges the sets of the range. They come type by type, so that one type's
// set and the total's are in memory.
func (out *summary) readUsers(ctx context.Context, tx pgx.Tx, s span, f Filter) error {
	var q statement
	sql := `
WITH cell AS (
    ` + q.sets(s, f.dimension()) + `
), key AS (
    ` + q.keys(f, f.dimension(), "type") + `
)
SELECT label, users FROM cell JOIN key ON id = key_id ORDER BY label`
	rows, err := tx.Query(ctx, sql, q.args...)
	if err != nil {
		return err
	}
	counts := map[string]int64{}
	var total, one unique.Set
	var label, current string
	var users []byte
	_, err = pgx.ForEachRow(rows, []any{&label, &users}, func() error {
		if label != current {
			counts[current], current, one = one.Count(), label, unique.Set{}
		}
		return errors.Join(one.Merge(users), total.Merge(users))
	})
	if err != nil {
		return err
	}
	counts[current], out.Users = one.Count(), total.Count()
	for i := range out.ByType {
		out.ByType[i].Users = counts[out.ByType[i].Type]
	}
	return nil
}
