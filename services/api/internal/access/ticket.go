package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/redis/go-redis/v9"

	"weir/services/shared/access"
)

// TicketPath is where tickets are made.
const TicketPath = "/v1/live/tickets"

// ticketAge is how long a ticket may be used.
const ticketAge = 30 * time.Second

// Tickets are for browsers, which cannot send a key with a WebSocket: a page that has
// the key gets a ticket, and opens one connection with it. They are kept in Redis, so
// that any instance knows them, each with the pass of the key that it stands for; and as
// hashes, so that whoever reads Redis has none.
type Tickets struct {
	Client redis.UniversalClient
	Stream string // prefix of the keys in Redis
}

func (t *Tickets) key(ticket string) string {
	sum := sha256.Sum256([]byte(ticket))
	return t.Stream + ":ticket:" + hex.EncodeToString(sum[:])
}

// issue makes a ticket.
func (t *Tickets) issue(ctx context.Context, pass access.Pass) (ticket string, err error) {
	ticket = rand.Text()
	if err := t.Client.Set(ctx, t.key(ticket), pass[:], ticketAge).Err(); err != nil {
		return "", fmt.Errorf("keep ticket: %w", err)
	}
	return ticket, nil
}

// spend uses a ticket up; it reports whether there was one.
func (t *Tickets) spend(ctx context.Context, ticket string) (pass access.Pass, known bool, err error) {
	kept, err := t.Client.GetDel(ctx, t.key(ticket)).Bytes()
	if errors.Is(err, redis.Nil) {
		return pass, false, nil
	}
	copy(pass[:], kept)
	return pass, err == nil, err
}

// Ticket is the answer to a request for one.
type Ticket struct {
	Ticket    string    `json:"ticket" doc:"For ?ticket= of one connection to the live feed" example:"XGMVYUQ4RP5DJ2ZTC7KWE3NHAB"`
	ExpiresAt time.Time `json:"expires_at" doc:"When it can no longer be used"`
}

type ticketOutput struct {
	NoStore string `header:"Cache-Control"`
	Body    Ticket
}

type ticketInput struct {
	Authorization string `header:"Authorization" hidden:"true"` // the scheme describes it
}

// RegisterTickets adds the operation. Only serving needs the keys' tickets.
func RegisterTickets(api huma.API, keys Keys) {
	huma.Register(api, huma.Operation{
		OperationID: "create-live-ticket", Method: http.MethodPost, Path: TicketPath, Tags: []string{"Live"},
		DefaultStatus: http.StatusCreated, Security: Required(),
		Summary: "A ticket for the live feed",
		Description: "For browsers, whose WebSocket and EventSource cannot send a key: the ticket goes into the query parameter `ticket` of " +
			"`/v1/live` or `/v1/live/events`. It opens one connection, on any instance, within 30 seconds. Pages " +
			"of LIVE_ORIGINS may ask for one.",
		Errors: []int{http.StatusServiceUnavailable},
	}, func(ctx context.Context, in *ticketInput) (*ticketOutput, error) {
		pass, _ := keys.Admit(in.Authorization) // it was checked, and may have been withdrawn since: so is the ticket then
		ticket, err := keys.tickets.issue(ctx, pass)
		if err != nil {
			return nil, huma.ErrorWithHeaders(huma.Error503ServiceUnavailable("Tickets cannot be kept just now; try again after the seconds in Retry-After.", err),
				http.Header{"Retry-After": {"2"}})
		}
		return &ticketOutput{"no-store", Ticket{ticket, time.Now().Add(ticketAge).UTC()}}, nil
	})
}
