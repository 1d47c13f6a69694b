// Package body reads the bodies of requests: whatever their encoding, and never more
// than the limits allow.
package body

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/semaphore"
)

// Reader reads bodies. Together they take a bounded part of the memory, so that many
// large requests at once are refused and not paid for by all.
type Reader struct{ memory *semaphore.Weighted }

// NewReader returns a Reader of bodies that hold so many bytes at most between them.
func NewReader(memory int64) *Reader { return &Reader{semaphore.NewWeighted(memory)} }

// Text is a body, decoded. Its memory counts until Release.
type Text struct {
	text   string
	reader *Reader
	held   int64
}

// Release gives the memory back; what was made of the text may live on.
func (t *Text) Release() {
	t.reader.memory.Release(t.held)
	t.held = 0
}

// Read reads a body that is encoded as Content-Encoding says; declared is its
// Content-Length, or less than 0. Both what comes over the wire and what comes out of
// it may have limit bytes. The error is a problem for the client: 400, 408, 413 or
// 415, or 503 when there is no memory for it now.
func (r *Reader) Read(from io.Reader, encoding string, declared, limit int64) (*Text, error) {
	decode, err := decoderFor(encoding)
	if err != nil {
		return nil, err
	}
	if declared > limit {
		return nil, tooLarge(limit)
	}
	wire := &io.LimitedReader{R: from, N: limit + 1}
	plain, err := decode.open(wire)
	if err != nil {
		return nil, unreadable(err, encoding)
	}
	defer decode.close(plain)

	t := &Text{reader: r}
	var text strings.Builder
	if decode == identity && declared <= trusted {
		text.Grow(int(max(declared, 0)))
	}
	chunk := chunks.Get().(*[]byte)
	defer chunks.Put(chunk)
	for {
		n, err := plain.Read(*chunk)
		if int64(text.Len()+n) > limit || wire.N <= 0 {
			t.Release()
			return nil, tooLarge(limit)
		}
		if missing := int64(text.Len()+n) - t.held; missing > 0 {
			if err := t.hold(max(missing, int64(len(*chunk)))); err != nil {
				t.Release()
				return nil, err
			}
		}
		text.Write((*chunk)[:n])
		switch {
		case errors.Is(err, io.EOF):
			t.text = text.String()
			return t, nil
		case err != nil:
			t.Release()
			return nil, unreadable(err, encoding)
		}
	}
}

// String returns the text.
func (t *Text) String() string { return t.text }

func (t *Text) hold(n int64) error {
	if !t.reader.memory.TryAcquire(n) {
		return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable("Too many bytes of requests are under way. Send this one again, a little later."), http.Header{"Retry-After": {"1"}})
	}
	t.held += n
	return nil
}

// trusted is the largest announced length that memory is set aside for at once. For a
// larger body it grows as bytes arrive: announcing costs a client nothing.
const trusted = 256 << 10

// chunks are the pieces that bodies are read in.
var chunks = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func tooLarge(limit int64) error {
	return huma.NewError(http.StatusRequestEntityTooLarge, "The body has more than "+strconv.FormatInt(limit, 10)+" bytes, counted as sent and as decoded: send fewer events at once.")
}

// unreadable tells whose fault it is that a body cannot be read. None is the server's.
func unreadable(err error, encoding string) error {
	var slow net.Error
	switch {
	case errors.As(err, &slow) && slow.Timeout():
		return huma.NewError(http.StatusRequestTimeout, "The body did not arrive in time: send less at once, or faster.")
	case encoding == "" || encoding == "identity":
		return huma.Error400BadRequest("The body ended before its announced length, or its transfer encoding is broken.")
	default:
		return huma.Error400BadRequest("The body is not " + strconv.Quote(encoding) + " as its Content-Encoding says, or is not complete.")
	}
}
