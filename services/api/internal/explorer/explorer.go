// Package explorer shows the stored events themselves: page by page, one by id, and all
// of a range as a file.
package explorer

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
	"weir/services/shared/event"
)

type listInput struct {
	Limit int       `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Most items of a page"`
	From  time.Time `query:"from" doc:"Only events of this time or later (RFC 3339)" example:"2026-01-01T00:00:00Z"`
	To    time.Time `query:"to" doc:"Only events before this time (RFC 3339)" example:"2026-01-02T00:00:00Z"`
	span.Known
	filter.Input
	Cursor string `query:"cursor" maxLength:"64" doc:"The next_cursor of the page before, which had the same filter, type and source; without it, the newest events"`
}

// EventPage is one page of events.
type EventPage struct {
	Meta       PageMeta `json:"meta"`
	Items      []Event  `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string   `json:"next_cursor,omitempty" doc:"Give it as cursor to get the page after this one; absent on the last page" example:"AgAGR2kFOoO4AZOlsHwefk-dKj9bjG1-H52Qjs-2slbe"`
}

// PageMeta says what a page is about.
type PageMeta struct {
	From      *time.Time  `json:"from,omitempty" doc:"Start of the range that was asked for, inclusive; absent when there was none" example:"2026-01-01T00:00:00Z"`
	To        *time.Time  `json:"to,omitempty" doc:"End of the range that was asked for, exclusive; absent when there was none" example:"2026-01-02T00:00:00Z"`
	ServedBy  span.Served `json:"served_by" enum:"raw" doc:"What was read: the events themselves"`
	AsOf      time.Time   `json:"as_of" doc:"Every event stored before this instant was looked at" example:"2026-01-02T00:00:00.123456Z"`
	ScannedTo *time.Time  `json:"scanned_to,omitempty" doc:"There only when so few events pass the filter that the page ended before it was full: all events back to this time were looked at. next_cursor goes on from there" example:"2026-01-01T10:00:00Z"`
}

type itemInput struct {
	ID string `path:"id" format:"uuid" doc:"The event's id" example:"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f"`
}

type itemOutput struct{ Body Event }

// Register adds the operations below /v1/events, and /v1/export.
func Register(api huma.API, r *query.Reader) {
	registerExport(api, r)
	huma.Register(api, huma.Operation{
		OperationID: "list-events", Method: http.MethodGet, Path: "/v1/events", Tags: []string{"Events"},
		Summary: "Stored events, newest first",
		Description: "Events by descending time, those of the same time by descending id. Following next_cursor gives every event " +
			"that was stored when the first page was read exactly once, also while others arrive. " +
			"A page is the next limit events, but ends after about half a million that the filter did not take: then it may hold fewer, even none, " +
			"meta.scanned_to says how far it came, and next_cursor goes on from there. from and to may be changed on the way, the filter may not.",
		Security: access.Required(), Errors: query.Errors, Responses: span.NotModified(),
	}, func(ctx context.Context, in *listInput) (*span.Output[EventPage], error) {
		// One more than shown tells whether there is a page after this one.
		p, err := newPage(in.Input, in.From, in.To, in.Limit+1)
		if err != nil {
			return nil, err
		}
		filter := sum(in.Input)
		if in.Cursor != "" {
			at, err := parseCursor(in.Cursor, filter)
			if err != nil {
				return nil, query.Invalid("cursor", err.Error(), in.Cursor)
			}
			p.startAfter(at)
		}
		asOf, err := p.ask(ctx, r)
		if err != nil {
			return nil, err
		}
		meta := PageMeta{From: bound(in.From), To: bound(in.To), ServedBy: span.Raw, AsOf: asOf}
		out := EventPage{Meta: meta, Items: append([]Event{}, p.items...)} // [], not null
		switch {
		case len(p.items) > in.Limit:
			out.Items = p.items[:in.Limit]
			out.NextCursor = p.items[in.Limit-1].position().cursor(filter)
		case p.spent():
			out.Meta.ScannedTo = &p.passed
			out.NextCursor = position{time: p.passed}.cursor(filter)
		}
		return span.Answer(in.Known, p.after.time, asOf, &out)
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

// bound is a bound that was given, or nil.
func bound(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// The unique index of each chunk begins with the id.
const itemSQL = `SELECT ` + columns + ` FROM events WHERE id = $1 ORDER BY time DESC LIMIT 1`
