package live

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

const (
	// maxFrame is in bytes: room for a subscription with the longest filter.
	maxFrame = 8 << 10
	// maxRate is how many messages a client may send in a second, pings and pongs included:
	// each ping makes a pong, which costs a system call.
	maxRate = 20

	tooMuch = "too many messages"
)

// socket is the WebSocket transport.
type socket struct {
	wire   *wire           // messages go by this
	conn   *websocket.Conn // what the client says comes by this
	client *client
	hub    *Hub

	// What the client sent, for the reader.
	second time.Time
	said   int
}

// accept makes the request a WebSocket. When it cannot, it has answered.
func accept(w http.ResponseWriter, r *http.Request, c *client, h *Hub) (*socket, error) {
	s := &socket{client: c, hub: h}
	hijack := &hijack{ResponseWriter: &refusals{ResponseWriter: w}}
	var err error
	s.conn, err = websocket.Accept(hijack, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true,                          // origins are checked in serve, for both transports
		CompressionMode:    websocket.CompressionDisabled, // it would cost 1.2 MB a client
		OnPingReceived:     func(ctx context.Context, _ []byte) bool { return s.control(ctx) },
		OnPongReceived:     func(ctx context.Context, _ []byte) { s.control(ctx) },
	})
	s.wire = hijack.wire
	return s, err
}

func (s *socket) try(b burst) (left burst) {
	for i, p := range b {
		if !s.wire.try(p.frame) {
			return b[i:]
		}
	}
	return nil
}

func (s *socket) write(p *packet) error { return s.wire.send(p.frame) }

func (s *socket) close(code websocket.StatusCode, reason string) { _ = s.conn.Close(code, reason) }

func (s *socket) free() { _ = s.conn.CloseNow() }

// read lets go of a client that talks nonsense or too much. Frames above maxFrame close
// the connection with 1009 by themselves.
func (s *socket) read(ctx context.Context) {
	s.conn.SetReadLimit(maxFrame)
	for {
		kind, data, err := s.conn.Read(ctx)
		if err != nil {
			return
		}
		if s.flooded() {
			s.hub.dismiss(s.client, websocket.StatusPolicyViolation, tooMuch)
			return
		}
		wants, err := parseRequest(data)
		switch {
		case kind != websocket.MessageText || errors.Is(err, errNonsense):
			s.hub.dismiss(s.client, websocket.StatusPolicyViolation, errNonsense.Error())
			return
		case err != nil:
			s.hub.answer(s.client, Message{Type: "error", AsOf: time.Now().UTC(), Detail: err.Error()})
		case wants == nil:
			s.hub.answer(s.client, Message{Type: "pong", AsOf: time.Now().UTC()})
		default:
			s.hub.change(s.client, *wants)
		}
	}
}

// flooded counts what the client sends, and reports whether it is too much.
func (s *socket) flooded() bool {
	if now := time.Now().Truncate(time.Second); now.Equal(s.second) {
		s.said++
	} else {
		s.second, s.said = now, 1
	}
	return s.said > maxRate
}

// control takes a ping or a pong, and reports whether to answer. It runs inside of a read,
// where the connection cannot be closed: the writer does it, and until then nothing more
// is read.
func (s *socket) control(ctx context.Context) bool {
	if !s.flooded() {
		return true
	}
	s.hub.dismiss(s.client, websocket.StatusPolicyViolation, tooMuch)
	<-ctx.Done()
	return false
}
