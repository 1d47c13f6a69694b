package live

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// writeTimeout is how long one message may take to enter the client's connection.
	// A client that reads nothing for as long, with its buffers full, is gone.
	writeTimeout = 5 * time.Second
	// maxFrame is in bytes. What clients may say is short.
	maxFrame = 4 << 10
	// maxRate is how many messages a client may send in a second.
	maxRate = 20
)

// client is one connection. The hub puts messages in, and may end it; its own two
// goroutines do the rest: one writes, one reads.
type client struct {
	messages chan []byte
	pongs    chan struct{}

	over   chan struct{} // closed by end
	code   websocket.StatusCode
	reason string
}

func newClient(buffer int) *client {
	return &client{messages: make(chan []byte, buffer), pongs: make(chan struct{}, 1), over: make(chan struct{})}
}

// end makes the client close its connection, after the message that it is writing.
// The hub calls it, once at most.
func (c *client) end(code websocket.StatusCode, reason string) {
	c.code, c.reason = code, reason
	close(c.over)
}

// serve writes the first messages and then what the hub puts in, until either side
// ends. The connection is closed when it returns. Its context is its own: that of
// the request ends when the connection is taken over. It reports whether the client
// was cut off because it did not read, before the hub knew.
func (c *client) serve(conn *websocket.Conn, first [][]byte) (slow bool) {
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() {
		defer cancel()
		c.read(ctx, conn)
	})
	err := c.write(ctx, conn, first)
	cancel()
	reading.Wait()
	_ = conn.CloseNow()
	select {
	case <-c.over:
		return false
	default:
		return errors.Is(err, context.DeadlineExceeded)
	}
}

func (c *client) write(ctx context.Context, conn *websocket.Conn, first [][]byte) error {
	for _, m := range first {
		if err := put(ctx, conn, m); err != nil {
			return err
		}
	}
	for {
		select {
		case <-c.over: // before any message that waits: it is too late for those
			return conn.Close(c.code, c.reason)
		default:
		}
		var m []byte
		select {
		case <-c.over:
			continue
		case <-ctx.Done():
			return ctx.Err()
		case m = <-c.messages:
		case <-c.pongs:
			m = Message{Type: "pong", AsOf: time.Now().UTC()}.encode()
		}
		if err := put(ctx, conn, m); err != nil {
			return err
		}
	}
}

func put(ctx context.Context, conn *websocket.Conn, m []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, m)
}

// read takes what the client says, and closes the connection of one that talks
// nonsense or too much. Frames above maxFrame close it with 1009 by themselves.
func (c *client) read(ctx context.Context, conn *websocket.Conn) {
	conn.SetReadLimit(maxFrame)
	second, said := time.Time{}, 0
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if now := time.Now().Truncate(time.Second); now.Equal(second) {
			said++
		} else {
			second, said = now, 1
		}
		var m struct {
			Type string `json:"type"`
		}
		switch {
		case said > maxRate:
			_ = conn.Close(websocket.StatusPolicyViolation, "too many messages")
			return
		case kind != websocket.MessageText || json.Unmarshal(data, &m) != nil || m.Type != "ping":
			_ = conn.Close(websocket.StatusPolicyViolation, `the only message is {"type":"ping"}`)
			return
		}
		select {
		case c.pongs <- struct{}{}:
		default: // one answer under way is enough
		}
	}
}
