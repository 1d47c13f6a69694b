package live

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/gobwas/ws"
)

// maxControl is the longest control frame of a server, in bytes (RFC 6455, 5.5).
const maxControl = ws.MinHeaderSize + ws.MaxControlFramePayloadSize

// wire is a WebSocket's connection. Messages, whose frames are made once for all clients,
// are written to it past the WebSocket package, which writes the control frames only. With
// the package's way to write a message, and a goroutine woken for each, 50,000 messages a
// second took 0.75 of a core; so they take 0.52, nearly all of it the kernel's.
type wire struct {
	net.Conn
	raw syscall.RawConn // nil over TLS, where only what waits can write

	mu     sync.Mutex
	rest   []byte // of the frame that was begun
	closed bool   // a close frame was sent: nothing may follow

	// Of attempt, which is made once because a closure is an allocation.
	attempt func(fd uintptr) bool
	frame   []byte
	n       int
}

// hijack hands a request's connection over as a wire.
type hijack struct {
	http.ResponseWriter
	wire *wire
}

// Hijack gives the WebSocket package a buffer that holds any control frame, so that it writes
// each at once, between two others.
func (h *hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.wire = newWire(conn)
	return h.wire, bufio.NewReadWriter(buffers.Reader, bufio.NewWriterSize(h.wire, maxControl)), nil
}

func newWire(conn net.Conn) *wire {
	w := &wire{Conn: conn}
	if plain, ok := conn.(*net.TCPConn); ok {
		w.raw, _ = plain.SyscallConn() // never fails for a connection that is open
	}
	w.attempt = func(fd uintptr) bool {
		for {
			n, err := syscall.Write(int(fd), w.frame)
			if err != syscall.EINTR {
				w.n = max(n, 0) // whatever else is wrong, the next write that waits is told
				return true
			}
		}
	}
	return w
}

// try writes what there is room for, without waiting. It reports whether it took the frame;
// if so and some of it is left, that is written first the next time.
func (w *wire) try(frame []byte) (took, whole bool) {
	if w.raw == nil || !w.mu.TryLock() {
		return false, false
	}
	defer w.mu.Unlock()
	if len(w.rest) > 0 || w.closed {
		return false, false
	}
	w.frame, w.n = frame, 0
	_ = w.raw.Write(w.attempt) // the next write that waits is told
	w.frame = nil
	if whole = w.n == len(frame); w.n > 0 && !whole {
		w.rest = frame[w.n:]
	}
	return w.n > 0, whole
}

// Write writes a frame, or none, after the one that was begun. It waits for up to
// writeTimeout.
func (w *wire) Write(frame []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, net.ErrClosed
	}
	w.closed = len(frame) > 0 && ws.OpCode(frame[0]&0x0f) == ws.OpClose
	if len(w.rest)+len(frame) == 0 {
		return 0, nil
	}
	if err := w.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	if len(w.rest) > 0 {
		n, err := w.Conn.Write(w.rest)
		if w.rest = w.rest[n:]; err != nil {
			return 0, err
		}
	}
	if len(frame) > 0 {
		if n, err := w.Conn.Write(frame); err != nil {
			return n, err
		}
	}
	return len(frame), w.SetWriteDeadline(time.Time{}) // which would fail what tries after it
}
