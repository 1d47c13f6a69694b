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
// second took 0.75 of a core; written past it they take 0.52, nearly all of it the kernel's.
type wire struct {
	net.Conn
	raw syscall.RawConn // nil over TLS, where only what waits can write

	mu     sync.Mutex
	rest   []byte // of the message that was begun, to be written before anything else
	begun  bool   // whether a message was, and send has not been told to write it yet
	closed bool   // nothing may follow: a close frame was sent, or a write failed

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
				w.n = max(n, 0) // if not for want of room, send meets the same error
				return true
			}
		}
	}
	return w
}

// try writes as much of a message as there is room for, without waiting, and reports
// whether that was all. If not, the message is the next to be sent.
func (w *wire) try(frame []byte) (whole bool) {
	if w.raw == nil || !w.mu.TryLock() {
		return false
	}
	defer w.mu.Unlock()
	if w.begun || w.closed {
		return false
	}
	w.frame, w.n = frame, 0
	_ = w.raw.Write(w.attempt) // send meets the same error
	w.frame = nil
	if w.n == len(frame) {
		return true
	}
	if w.n > 0 {
		w.begun, w.rest = true, frame[w.n:]
	}
	return false
}

// send writes a message, or what is left of it if try began it.
func (w *wire) send(frame []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun {
		w.begun, frame = false, nil
	}
	return w.write(frame)
}

// Write writes a control frame.
func (w *wire) Write(frame []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.write(frame); err != nil {
		return 0, err
	}
	w.closed = ws.OpCode(frame[0]&0x0f) == ws.OpClose
	return len(frame), nil
}

// write writes rest and the frame. It waits for up to writeTimeout.
func (w *wire) write(frame []byte) (err error) {
	if w.closed {
		return net.ErrClosed
	}
	defer func() { w.closed = err != nil }()
	if err := w.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	for _, b := range [][]byte{w.rest, frame} {
		if len(b) == 0 {
			continue
		}
		if _, err := w.Conn.Write(b); err != nil {
			return err
		}
	}
	w.rest = nil
	return w.SetWriteDeadline(time.Time{}) // try would fail when it is past
}
