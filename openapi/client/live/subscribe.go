package live

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/coder/websocket"
)

// Subscription is what a client wants to be told.
type Subscription struct {
	Metrics    bool     `json:"metrics"`              // counts by minute and type: Snapshot and Delta
	Dimensions []string `json:"dimensions,omitempty"` // their most frequent values: Top
	Events     int      `json:"events,omitempty"`     // up to so many sampled events a second: Events
	Filter     string   `json:"filter,omitempty"`     // which events are sampled, in the filter language
}

// request is a subscription on its way to the server.
type request struct {
	wants  Subscription
	answer chan error
}

// errUnanswered tells nothing about the subscription.
var errUnanswered = errors.New("the connection was lost before the live feed answered the subscription")

// Subscribe replaces what the client wants, on this connection and those to come. It waits
// for a connection and for the answer: an error of the server's says what cannot be had, and
// nothing has changed then. Run must go on meanwhile, so handle cannot wait for it.
func (c *Client) Subscribe(ctx context.Context, wants Subscription) error {
	r := request{wants, make(chan error, 1)}
	select {
	case c.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask puts requests to the server, one at a time: its answers do not say to which they are.
func (c *Client) ask(ctx context.Context, conn *websocket.Conn, answers <-chan string) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-c.requests:
			r.answer <- put(ctx, conn, r.wants, answers)
		}
	}
}

func put(ctx context.Context, conn *websocket.Conn, wants Subscription, answers <-chan string) error {
	select {
	case <-answers: // to nothing: it was said unasked
	default:
	}
	data, err := json.Marshal(struct {
		Type string `json:"type"`
		Subscription
	}{"subscribe", wants})
	if err != nil {
		return err
	}
	if err := conn.Write(ctx, websocket.MessageText, data); err != nil {
		return errUnanswered
	}
	select {
	case fault := <-answers:
		if fault != "" {
			return errors.New(fault)
		}
		return nil
	case <-ctx.Done():
		return errUnanswered
	}
}

// answer tells whoever asked, if anybody did, what is wrong; "" is nothing.
func answer(answers chan<- string, fault string) {
	select {
	case answers <- fault:
	default:
	}
}
