package control

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/consumer/internal/deadletter"
)

// Filter is what every operation on many dead letters takes.
type Filter struct {
	Stage  string    `query:"stage" enum:"decode,validate,store" doc:"Only those that failed at this stage" example:"validate"`
	Reason string    `query:"reason" maxLength:"256" doc:"Only those whose reason contains this, in any case" example:"must be a UUID"`
	Stream string    `query:"stream" maxLength:"256" doc:"Only those of this stream" example:"events"`
	From   time.Time `query:"from" doc:"Only those that became dead letters then or later (RFC 3339)" example:"2026-01-02T00:00:00Z"`
	To     time.Time `query:"to" doc:"Only those that became dead letters before (RFC 3339)" example:"2026-01-03T00:00:00Z"`
}

// Resolve implements huma.Resolver: the rules that a tag cannot say.
func (f *Filter) Resolve(huma.Context) []error {
	for name, text := range map[string]string{"reason": f.Reason, "stream": f.Stream} {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") { // which PostgreSQL takes for our fault
			return []error{&huma.ErrorDetail{Location: "query." + name, Message: "must be UTF-8 without NUL"}}
		}
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return []error{&huma.ErrorDetail{Location: "query.to", Message: "must be after from", Value: f.To}}
	}
	return nil
}

func (f *Filter) letters() deadletter.Filter {
	return deadletter.Filter{Stage: f.Stage, Reason: f.Reason, Stream: f.Stream, From: f.From, To: f.To}
}

// Letter is one dead letter, without its payload.
type Letter struct {
	ID        int64     `json:"id" doc:"Number of the dead letter" example:"17"`
	Stream    string    `json:"stream" doc:"The stream that the entry came from" example:"events"`
	StreamID  string    `json:"stream_id" doc:"The entry's id there" example:"1767366245123-0"`
	Stage     string    `json:"stage" enum:"decode,validate,store" doc:"Where it failed: it is not JSON, breaks a rule of the event contract, or PostgreSQL refused it"`
	Reason    string    `json:"reason" doc:"Why, in words" example:"id must be a UUID such as 0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f"`
	Attempts  int32     `json:"attempts" doc:"Deliveries that ended here" example:"1"`
	ArrivedAt time.Time `json:"arrived_at" doc:"When the entry was added to the stream" example:"2026-01-02T15:04:05.123Z"`
	CreatedAt time.Time `json:"created_at" doc:"When it became a dead letter" example:"2026-01-02T15:04:05.223Z"`
	Bytes     int64     `json:"bytes" doc:"Size of the payload" example:"312"`
}

// LetterPage is one page of dead letters.
type LetterPage struct {
	Items      []Letter `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string   `json:"next_cursor,omitempty" doc:"Give it as cursor to get the page after this one; absent on the last page" example:"aA"`
}

// WholeLetter is one dead letter with its payload.
type WholeLetter struct {
	Letter
	Encoding string `json:"payload_encoding" enum:"text,base64" doc:"text, or base64 when the payload is not UTF-8"`
	Payload  string `json:"payload" doc:"The entry's event as it came" example:"{\"id\":\"x\"}"`
}

type listInput struct {
	Filter
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Most items of a page"`
	Cursor string `query:"cursor" maxLength:"64" doc:"The next_cursor of the page before; without it, the newest"`
}

type listOutput struct{ Body LetterPage }

type letterInput struct {
	ID int64 `path:"id" minimum:"1" doc:"Number of the dead letter" example:"17"`
}

type letterOutput struct{ Body WholeLetter }

func (c *Control) registerLetters(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-dead-letters", Method: http.MethodGet, Path: "/v1/dead-letters", Tags: []string{"Dead letters"},
		Summary:     "Events that could not be stored, newest first",
		Description: "Following next_cursor gives every dead letter that was there when the first page was read exactly once.",
		Errors:      letterErrors,
	}, func(ctx context.Context, in *listInput) (*listOutput, error) {
		before, err := parseCursor(in.Cursor)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity("validation failed",
				&huma.ErrorDetail{Location: "query.cursor", Message: err.Error(), Value: in.Cursor})
		}
		list, err := c.Letters.List(ctx, in.letters(), before, in.Limit+1) // one more tells whether there is a page after
		if err != nil {
			return nil, c.problem(ctx, err)
		}
		out := &listOutput{LetterPage{Items: []Letter{}}}
		if len(list) > in.Limit {
			list = list[:in.Limit]
			out.Body.NextCursor = formatCursor(list[in.Limit-1].ID)
		}
		for i := range list {
			out.Body.Items = append(out.Body.Items, letter(&list[i]))
		}
		return out, nil
	})

	huma.Register(api, huma.Operation{
		OperationID: "get-dead-letter", Method: http.MethodGet, Path: "/v1/dead-letters/{id}", Tags: []string{"Dead letters"},
		Summary:     "One dead letter, with what the entry held",
		Description: "404 when there is none: never was, or replayed or discarded since.",
		Errors:      append([]int{http.StatusNotFound}, letterErrors...),
	}, func(ctx context.Context, in *letterInput) (*letterOutput, error) {
		d, err := c.Letters.Show(ctx, in.ID)
		if errors.Is(err, deadletter.ErrNotFound) {
			return nil, huma.Error404NotFound("There is no dead letter with this id, or no longer.",
				&huma.ErrorDetail{Location: "path.id", Message: "must be the id of a dead letter", Value: in.ID})
		}
		if err != nil {
			return nil, c.problem(ctx, err)
		}
		out := &letterOutput{WholeLetter{Letter: letter(&d), Encoding: "text", Payload: string(d.Payload)}}
		if !utf8.Valid(d.Payload) {
			out.Body.Encoding, out.Body.Payload = "base64", base64.StdEncoding.EncodeToString(d.Payload)
		}
		return out, nil
	})
}

func letter(d *deadletter.Letter) Letter {
	return Letter{d.ID, d.Stream, d.StreamID, d.Stage, d.Reason, d.Attempts, d.ArrivedAt.UTC(), d.CreatedAt.UTC(), d.Bytes}
}

// A cursor is the last id of the page, in a form that nobody takes for a number to
// calculate with.
func formatCursor(id int64) string {
	return base64.RawURLEncoding.EncodeToString(strconv.AppendInt(nil, id, 36))
}

func parseCursor(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(s)
	id, err2 := strconv.ParseInt(string(text), 36, 64)
	if err != nil || err2 != nil || id < 1 {
		return 0, errors.New("must be a next_cursor that this operation gave")
	}
	return id, nil
}
