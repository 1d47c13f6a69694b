package live

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"weir/services/api/internal/access"
)

// writeTimeout is how long one message may take to enter the client's connection.
// A client that reads nothing for as long, with its buffers full, is gone.
const writeTimeout = 5 * time.Second

// client is one connection, over WebSocket or SSE. The hub puts bursts in, and ends it;
// the client's own goroutines do the rest.
type client struct {
	bursts chan burst  // closed by end
	over   atomic.Bool // set by end: what waits in bursts is not sent
	code   websocket.StatusCode
	reason string

	// The hub's.
	lane    *lane
	wants   Subscription
	sampler *sampler // nil without sampled events
	good    access.Good
}

// transport is how messages reach a client.
type transport interface {
	// write returns when the message is in the connection, or after writeTimeout.
	write(p *packet) error
	// read takes what the client says, until it says no more or nonsense, or ctx ends.
	read(ctx context.Context)
	// close ends the connection with a reason, as far as the transport has room for one.
	close(code websocket.StatusCode, reason string)
	// free lets go of the connection, however it ended.
	free()
}

func newClient(buffer int) *client { return &client{bursts: make(chan burst, buffer)} }

// here reports whether the client has joined and was not let go.
func (c *client) here() bool {
	if c.lane == nil {
		return false
	}
	_, here := c.lane.clients[c]
	return here
}

// end makes the client close its connection, after the message that it is writing, with
// a reason if there is a code. The hub calls it, once.
func (c *client) end(code websocket.StatusCode, reason string) {
	c.code, c.reason = code, reason
	c.over.Store(true)
	close(c.bursts)
}

// serve writes what the hub puts in, until either side ends. It reports whether the
// client was cut off because it did not read, before the hub knew.
func (c *client) serve(ctx context.Context, t transport, h *Hub) (slow bool) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer h.dismiss(c, 0, "") // which wakes the writer
		t.read(ctx)
	})
	err := c.write(t)
	slow = !c.over.Load() && errors.Is(err, os.ErrDeadlineExceeded)
	cancel()
	reading.Wait()
	return slow
}

// write waits for one channel only. To select from five took an eighth of the api's CPU at
// 43,000 messages a second; this takes half of that.
func (c *client) write(t transport) error {
	for b := range c.bursts {
		for _, p := range b {
			if c.over.Load() {
				break
			}
			if err := t.write(p); err != nil {
				return err
			}
		}
	}
	if c.code != 0 {
		t.close(c.code, c.reason)
	}
	return nil
}
