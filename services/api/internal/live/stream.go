package live

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// stream is the transport of server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// newStream begins the answer. The browser's EventSource comes back by itself, after
// a second, and says the last id.
func newStream(w http.ResponseWriter) (*stream, error) {
	s := &stream{w, http.NewResponseController(w)}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold the messages back
	w.WriteHeader(http.StatusOK)
	return s, s.send([]byte("retry: 1000\n\n"))
}

// try leaves all to write: a response has no way to write without waiting.
func (s *stream) try(b burst) (left burst) { return b }

func (s *stream) write(p *packet) error {
	var b bytes.Buffer
	if p.id != "" {
		b.WriteString("id: " + p.id + "\n")
	}
	b.WriteString("data: ") // JSON has no line breaks
	b.Write(p.data)
	b.WriteString("\n\n")
	return s.send(b.Bytes())
}

func (s *stream) send(data []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(data); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	// HTTP/2 would end the answer at the deadline, also if there is nothing to write.
	return s.control.SetWriteDeadline(time.Time{})
}

// read has nothing to take: only the end of the request tells that the client is gone.
func (s *stream) read(ctx context.Context) { <-ctx.Done() }

// close says why in a comment, which EventSource skips; it comes back and resumes.
func (s *stream) close(_ websocket.StatusCode, reason string) {
	_ = s.send([]byte(": " + reason + "\n\n"))
}

// free leaves the connection to the server, which has the end of the answer to write.
func (s *stream) free() { _ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout)) }
