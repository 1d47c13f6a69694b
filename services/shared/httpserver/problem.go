package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const pingTimeout = 2 * time.Second

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// hideInternals makes Huma's answers to unexpected errors say nothing about the
// inside: the cause goes to the request's log line instead. Huma keeps this hook
// in a global, so it is set once.
var hideInternals = sync.OnceFunc(func() {
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		if status < 500 {
			explain(errs)
			return huma.NewError(status, msg, errs...)
		}
		if c, ok := ctx.Context().Value(causeKey{}).(*cause); ok && len(errs) > 0 {
			c.err = errs[0]
		}
		if status == http.StatusInternalServerError {
			msg = internalError
		}
		return huma.NewError(status, msg)
	}
})

// explain replaces what only a Go programmer would understand: Huma says a time's format in
// Go's own notation.
func explain(errs []error) {
	for _, err := range errs {
		var d *huma.ErrorDetail
		if errors.As(err, &d) && strings.HasPrefix(d.Message, "invalid date/time for format ") {
			d.Message = notATime
		}
	}
}

const notATime = "expected a date and time as in RFC 3339, such as 2026-01-31T00:00:00Z or 2026-01-31T01:00:00%2B01:00, as a plain + means a space here"

// internalError is all that an answer tells of an unexpected error.
const internalError = "An internal error occurred; the service's log has the details."

type causeKey struct{}

// cause carries a handler's unexpected error to the log, and the context that it happened
// in.
type cause struct {
	err    error
	within context.Context
}

func withCause(ctx context.Context) (context.Context, *cause) {
	c := &cause{within: ctx}
	return context.WithValue(ctx, causeKey{}, c), c
}

// WriteProblem answers with an RFC 9457 problem document, for handlers that are
// not Huma operations.
func WriteProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Del("Content-Length")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail})
}

// problems turns the mux's own plain answers (no such path, wrong method) into
// problem documents.
func problems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &discard{header: http.Header{}}
		mux.ServeHTTP(probe, r)
		if allow := probe.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
		}
		switch probe.status {
		case http.StatusMethodNotAllowed:
			WriteProblem(w, probe.status, "This path does not take "+r.Method+"; the Allow header lists what it takes.")
		case http.StatusNotFound:
			WriteProblem(w, probe.status, "There is nothing at this path; /docs lists what there is.")
		default:
			WriteProblem(w, probe.status, http.StatusText(probe.status))
		}
	})
}

// discard keeps the status and headers of an answer and drops its body.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }
