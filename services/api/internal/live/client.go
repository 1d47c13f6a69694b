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

// client is one connection, over WebSocket or SSE. The hub puts bursts in, and ends it.
// What waits is sent by offer, as long as there is room in the connection, and else by the
// client's own goroutine, in drain.
type client struct {
	transport transport
	bursts    chan burst    // what waits
	wake      chan struct{} // asks the own goroutine to drain
	over      atomic.Bool   // set by end: what waits is not sent
	code      websocket.StatusCode
	reason    string

	sending sync.Mutex // by one at a time
	left    burst      // taken from bursts, not wholly sent

	// The hub's.
	lane    *lane
	wants   Subscription
	sampler *sampler // nil without sampled events
	good    access.Good
}

// transport is how messages reach a client. One at a time tries or writes.
type transport interface {
	// try writes what there is room for, without waiting, and returns the messages that are
	// not wholly written. Of the first of them some may be: it has to be written next.
	try(b burst) (left burst)
	// write returns when all of the message is in the connection, or writeTimeout after it
	// had its turn.
	write(p *packet) error
	// read takes what the client says, until it says no more or nonsense, or ctx ends.
	read(ctx context.Context)
	// close ends the connection with a reason, as far as the transport has room for one.
	close(code websocket.StatusCode, reason string)
	// free lets go of the connection, however it ended.
	free()
}

func newClient(buffer int) *client {
	return &client{bursts: make(chan burst, buffer), wake: make(chan struct{}, 1)}
}

// here reports whether the client has joined and was not let go.
func (c *client) here() bool {
	if c.lane == nil {
		return false
	}
	_, here := c.lane.clients[c]
	return here
}

// end makes the client close its connection, after what is being written, with a reason if
// there is a code. The hub calls it, once.
func (c *client) end(code websocket.StatusCode, reason string) {
	c.code, c.reason = code, reason
	c.over.Store(true)
	c.rouse()
}

// rouse has the client's own goroutine look at what waits.
func (c *client) rouse() {
	select {
	case c.wake <- struct{}{}:
	default: // it is going to
	}
}

// offer sends what waits while there is room for it, and leaves what there is none for to
// the client's own goroutine.
func (c *client) offer() {
	if !c.sending.TryLock() {
		c.rouse()
		return
	}
	defer c.sending.Unlock()
	for len(c.left) == 0 && !c.over.Load() {
		select {
		case b := <-c.bursts:
			c.left = c.transport.try(b)
		default:
			return
		}
	}
	c.rouse()
}

// drain sends what waits, until the end.
func (c *client) drain() error {
	c.sending.Lock()
	defer c.sending.Unlock()
	for !c.over.Load() {
		if len(c.left) > 0 {
			if err := c.transport.write(c.left[0]); err != nil {
				return err
			}
			c.left = c.left[1:]
			continue
		}
		select {
		case c.left = <-c.bursts:
		default:
			return nil
		}
	}
	return nil
}

// serve sends what the hub puts in, until either side ends. It reports whether the
// client was cut off because it did not read, before the hub knew.
func (c *client) serve(ctx context.Context, h *Hub) (slow bool) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer h.dismiss(c, 0, "") // which wakes the writer
		c.transport.read(ctx)
	})
	err := c.write()
	slow = !c.over.Load() && errors.Is(err, os.ErrDeadlineExceeded)
	cancel()
	reading.Wait()
	return slow
}

// write sends whenever it is roused, and closes the connection at the end.
func (c *client) write() error {
	for !c.over.Load() {
		<-c.wake
		if err := c.drain(); err != nil {
			return err
		}
	}
	if c.code != 0 {
		c.transport.close(c.code, c.reason)
	}
	return nil
}
