// Package explorer shows the stored events themselves: page by page, and one by id.
package explorer

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/access"
	"weir/services/api/internal/query"
	"weir/services/shared/event"
)

type listInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Most items of a page"`
	Type   string `query:"type" pattern:"^[a-z][a-z0-9_.]{0,63}$" doc:"Only events of this type" example:"purchase"`
	Source string `query:"source" pattern:"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$" doc:"Only events from this source" example:"web"`
	Cursor string `query:"cursor" maxLength:"64" doc:"The next_cursor of the page before; without it, the newest events"`
}

// EventPage is one page of events.
type EventPage struct {
	Items      []Event `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string  `json:"next_cursor,omitempty" doc:"Give it as cursor to get the page after this one; absent on the last page"`
}

type listOutput struct{ Body EventPage }

type itemInput struct {
	ID string `path:"id" format:"uuid" doc:"The event's id" example:"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f"`
}

type itemOutput struct{ Body Event }

// Register adds the operations below /v1/events.
func Register(api huma.API, r *query.Reader) {
	huma.Register(api, huma.Operation{
		OperationID: "list-events", Method: http.MethodGet, Path: "/v1/events", Tags: []string{"Events"},
		Summary: "Stored events, newest first",
		Description: "Events by descending time, those of the same time by descending id. Following next_cursor gives every event " +
			"that was stored when the first page was read exactly once, also while others arrive.",
		Security: access.Required(), Errors: query.Errors,
	}, func(ctx context.Context, in *listInput) (*listOutput, error) {
		// Past the newest that an event may be; on a whole minute, as there is nothing of
		// that minute to look at.
		after := position{time: time.Now().UTC().Add(event.MaxFuture + time.Hour).Truncate(time.Minute)}
		if in.Cursor != "" {
			var err error
			if after, err = parseCursor(in.Cursor); err != nil {
				return nil, query.Invalid("cursor", err.Error(), in.Cursor)
			}
		}
		// One more than shown tells whether there is a page after this one.
		p := page{limit: in.Limit + 1, after: after, filter: filter{in.Type, in.Source}}
		_, err := r.Ask(ctx, func(ctx context.Context, tx pgx.Tx) error {
			p.tx = tx
			return p.read(ctx)
		})
		if err != nil {
			return nil, err
		}
		out := &listOutput{EventPage{Items: append([]Event{}, p.items...)}} // [], not null
		if len(p.items) > in.Limit {
			out.Body.Items = p.items[:in.Limit]
			out.Body.NextCursor = p.items[in.Limit-1].position().cursor()
		}
		return out, nil
	})

	huma.Register(api, huma.Operation{
		OperationID: "get-event", Method: http.MethodGet, Path: "/v1/events/{id}", Tags: []string{"Events"},
		Summary:     "One stored event",
		Description: "The event with this id; the newest, should a producer have used the id at several times.",
		Security:    access.Required(), Errors: append([]int{http.StatusNotFound}, query.Errors...),
	}, func(ctx context.Context, in *itemInput) (*itemOutput, error) {
		id, ok := event.ParseUUID(in.ID)
		if !ok {
			return nil, huma.Error422UnprocessableEntity("validation failed",
				&huma.ErrorDetail{Location: "path.id", Message: "must be a UUID", Value: in.ID})
		}
		var found []Event
		_, err := r.Ask(ctx, func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, itemSQL, [16]byte(id))
			if err != nil {
				return err
			}
			found, err = pgx.CollectRows(rows, scan)
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, huma.Error404NotFound("There is no event with this id.")
		}
		return &itemOutput{found[0]}, nil
	})
}

// The unique index of each chunk begins with the id.
const itemSQL = `SELECT ` + columns + ` FROM events WHERE id = $1 ORDER BY time DESC LIMIT 1`
