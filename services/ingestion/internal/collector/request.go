package collector

import (
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"weir/services/ingestion/internal/body"
	"weir/services/ingestion/internal/key"
)

// Request is what every entrance takes; it is the input of their operations. The body
// is read by Collect, once the sender is known.
type Request struct {
	Encoding      string `header:"Content-Encoding" doc:"How the body is compressed: gzip, deflate or zstd" example:"gzip"`
	Authorization string `header:"Authorization" doc:"The write key, as a Bearer token or as the user name of Basic authentication" example:"Bearer web-shop"`
	WriteKey      string `header:"X-Write-Key" doc:"The write key, where Authorization cannot be set" example:"web-shop"`
	QueryKey      string `query:"write_key" doc:"The write key, where no header can be set: navigator.sendBeacon and images" example:"web-shop"`

	request *http.Request
	writer  http.ResponseWriter
}

// Resolve implements huma.Resolver.
func (r *Request) Resolve(ctx huma.Context) []error {
	r.request, r.writer = humago.Unwrap(ctx)
	return nil
}

// NewRequest is the Request of an entrance that is not a Huma operation.
func NewRequest(w http.ResponseWriter, r *http.Request) *Request {
	return &Request{
		Encoding: r.Header.Get("Content-Encoding"), Authorization: r.Header.Get("Authorization"), WriteKey: r.Header.Get("X-Write-Key"),
		QueryKey: r.URL.Query().Get("write_key"), request: r, writer: w,
	}
}

// Header returns the request's headers.
func (r *Request) Header() http.Header { return r.request.Header }

// RawQuery returns the request's query, encoded.
func (r *Request) RawQuery() string { return r.request.URL.RawQuery }

// RemoteAddr returns the address of the sender, or of the proxy next to us.
func (r *Request) RemoteAddr() string { return r.request.RemoteAddr }

func (r *Request) key() string { return key.Given(r.Authorization, r.WriteKey, r.QueryKey) }

func (r *Request) read(bodies *body.Reader, limit int64, patience time.Duration) (*body.Text, error) {
	connection := http.NewResponseController(r.writer)
	// Without deadlines, as in a test without a connection, there is no slow client.
	_ = connection.SetReadDeadline(time.Now().Add(patience))
	text, err := bodies.Read(r.request.Body, r.Encoding, r.request.ContentLength, limit)
	if err == nil {
		// The server watches the connection while the events go to the stream. A
		// deadline that passed meanwhile would count as the client's leaving.
		_ = connection.SetReadDeadline(time.Time{})
	}
	return text, err
}

// drain reads what the client still sends, within bounds: one that is cut off in the
// middle of its body may never see the answer that says why.
func (r *Request) drain(most int64) {
	if r.request.Header.Get("Expect") != "" {
		return // it waits for leave to send, and will not get it
	}
	_ = http.NewResponseController(r.writer).SetReadDeadline(time.Now().Add(drainTimeout))
	_, _ = io.CopyN(io.Discard, r.request.Body, most)
}

const drainTimeout = time.Second
