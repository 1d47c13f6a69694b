// Package live follows Weir's live feed, as openapi/live.yaml describes it: the last hour's
// numbers, and then what changes, through lost connections and restarts.
//
//	client := live.New("http://localhost:3001", live.Options{Want: live.Subscription{Metrics: true}})
//	err := client.Run(ctx, func(m live.Message) {
//		switch m := m.(type) {
//		case live.Snapshot: // replaces all that came before
//		case live.Delta: // adds to it
//		case live.Lost: // m.Err: what there is grows old until the next of either
//		}
//	})
package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/coder/websocket"
)

// Options are what a client may be told. The zero value follows an api that asks for no
// key, and hears heartbeats only.
type Options struct {
	// Want is what the server is asked to tell, until Subscribe changes it.
	Want Subscription

	// Key is a read key, sent as a Bearer token.
	Key string

	// Ticket gets a ticket of POST /v1/live/tickets, in the place of a key. It is called for
	// every connection, as a ticket opens one. When it fails, it is called again later.
	Ticket func(ctx context.Context) (string, error)

	// Silence is how long nothing may come before the connection is taken to be dead: three
	// of the server's heartbeats (LIVE_HEARTBEAT), to be sure of it. The default, 45 seconds,
	// is that of the default heartbeat.
	Silence time.Duration

	// HTTP makes the connections; the default is http.DefaultClient.
	HTTP *http.Client
}

// Client follows the live feed of one api. It keeps its place, so that what was missed
// while there was no connection follows on the next.
type Client struct {
	url      string
	options  Options
	requests chan request

	// Run's alone.
	want  Subscription
	place Place // of the last Snapshot or Delta
}

// New makes a client of the api at a URL such as http://localhost:3001. It does nothing
// until Run.
func New(url string, o Options) *Client {
	if o.Silence == 0 {
		o.Silence = 45 * time.Second
	}
	return &Client{url: url, options: o, want: o.Want, requests: make(chan request)}
}

// Run follows the feed and hands every message to handle, one after the other, until ctx
// ends; then it returns nil. A lost connection is told as Lost, and made anew after a wait
// that doubles from 100 ms to 10 s, half of it random. No update is lost or handed over
// twice: what was missed follows, or a Snapshot. It returns a *Refused when the server will
// not have the client, which trying again would not change: a wrong key, an unknown filter.
//
// Whoever is slow to return from handle is closed by the server in the end (1013), and
// resumes. A Client is run once at a time; run again, it goes on where it was.
func (c *Client) Run(ctx context.Context, handle func(Message)) error {
	waits := &backoff.ExponentialBackOff{InitialInterval: 100 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5, MaxInterval: 10 * time.Second}
	for {
		began := time.Now()
		err := c.session(ctx, handle)
		if ctx.Err() != nil {
			return nil
		}
		var refused *Refused
		if errors.As(err, &refused) && !refused.temporary() {
			return err
		}
		// Not at the first message: a server that lets us in and throws us out is not to
		// be asked ten times a second.
		if time.Since(began) > waits.MaxInterval {
			waits.Reset()
		}
		wait := waits.NextBackOff()
		if refused != nil {
			wait = max(wait, refused.RetryAfter)
		}
		handle(Lost{err, wait})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// session is one connection. It returns why it ended.
func (c *Client) session(ctx context.Context, handle func(Message)) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan string, 1)
	var asking sync.WaitGroup
	asking.Go(func() { c.ask(ctx, conn, answers) })
	defer asking.Wait()
	defer cancel()
	for {
		m, err := c.read(ctx, conn)
		if err != nil {
			return err
		}
		fresh, err := c.follow(m, answers)
		if err != nil {
			return err
		}
		if fresh {
			handle(m)
		}
	}
}

func (c *Client) read(ctx context.Context, conn *websocket.Conn) (Message, error) {
	patient, cancel := context.WithTimeout(ctx, c.options.Silence)
	defer cancel()
	_, data, err := conn.Read(patient)
	switch {
	case err == nil:
		return parse(data)
	case ctx.Err() == nil && patient.Err() != nil:
		return nil, fmt.Errorf("nothing was heard of the live feed for %v", c.options.Silence)
	default:
		return nil, fmt.Errorf("read the live feed: %w", err)
	}
}

// follow keeps the place. It reports false for what is not to be handed over: a message of
// a kind that this package does not know, an update that was.
func (c *Client) follow(m Message, answers chan<- string) (fresh bool, err error) {
	switch m := m.(type) {
	case nil:
		return false, nil
	case Snapshot:
		c.place = m.Place
	case Delta:
		switch {
		case m.Epoch == c.place.Epoch && m.Seq <= c.place.Seq:
			return false, nil
		case m.Epoch != c.place.Epoch || m.Seq != c.place.Seq+1:
			err := fmt.Errorf("the live feed went from %v to %v, and what is between is missing", c.place, m.Place)
			c.place = Place{} // the next connection begins with a snapshot
			return false, err
		}
		c.place = m.Place
	case Subscribed:
		c.want = m.Subscription
		answer(answers, "")
	case Rejected:
		answer(answers, m.Detail)
	}
	return true, nil
}
