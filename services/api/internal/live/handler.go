package live

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/coder/websocket"

	"weir/services/api/internal/access"
	"weir/services/shared/httpserver"
)

// ServeSocket makes the request a WebSocket and serves it until either side ends.
func (h *Hub) ServeSocket(w http.ResponseWriter, r *http.Request, good access.Good) {
	h.serve(w, r, good, func(c *client) (transport, context.Context, error) {
		s, err := accept(w, r, c, h)
		// The request's context ends when its connection is taken over.
		return s, context.Background(), err
	})
}

// ServeEvents answers with server-sent events until either side ends.
func (h *Hub) ServeEvents(w http.ResponseWriter, r *http.Request, good access.Good) {
	h.serve(w, r, good, func(*client) (transport, context.Context, error) {
		s, err := newStream(w)
		return s, r.Context(), err
	})
}

// serve makes a client of a request, over the transport that open begins. When open
// fails it has written the refusal.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request, good access.Good, open func(*client) (transport, context.Context, error)) {
	if !h.admit(w, r) {
		httpserver.WriteProblem(w, http.StatusForbidden, "Pages of this origin may not open the live feed; LIVE_ORIGINS lists those that may.")
		return
	}
	wants, resume, fault := parseQuery(r)
	if fault != "" {
		httpserver.WriteProblem(w, http.StatusUnprocessableEntity, fault)
		return
	}
	defer h.open.Add(-1)
	if h.open.Add(1) > int64(h.cfg.MaxClients) {
		w.Header().Set("Retry-After", "10")
		httpserver.WriteProblem(w, http.StatusServiceUnavailable, "This instance has as many live clients as it takes; try again later.")
		return
	}
	c := newClient(h.cfg.ClientBuffer)
	c.wants, c.good = wants, good
	t, ctx, err := open(c)
	if err != nil {
		return
	}
	defer t.free()
	c.transport = t
	if !h.add(c, resume) {
		t.close(websocket.StatusGoingAway, goingAway)
		return
	}
	defer h.serving.Done()
	if c.serve(ctx, h) {
		h.metrics.slow.Inc()
	}
}

// parameters are what a connection may say in its query.
var parameters = []string{"metrics", "dimensions", "events", "filter", "epoch", "seq", "ticket"}

// parseQuery reads what a client wants and where it left off, or what is wrong with
// what it says.
func parseQuery(r *http.Request) (wants Subscription, resume *place, fault string) {
	q := r.URL.Query()
	for name := range q {
		if !slices.Contains(parameters, name) {
			return wants, nil, "query." + strings.ToValidUTF8(name[:min(len(name), 64)], "") + ": unknown parameter; there are " + strings.Join(parameters, ", ")
		}
	}
	wants, err := parseSubscription(q)
	if err != nil {
		return wants, nil, "query." + err.Error()
	}
	// EventSource repeats the address that it was given first, with a header that is newer.
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		epoch, seq, _ := strings.Cut(last, ":")
		if n, err := strconv.ParseUint(seq, 10, 64); err == nil {
			return wants, &place{epoch, n}, ""
		}
		return wants, nil, "header.Last-Event-ID: must be the id of a message, epoch:seq"
	}
	epoch, seq := q.Get("epoch"), q.Get("seq")
	if epoch == "" && seq == "" {
		return wants, nil, ""
	}
	if !epochForm.MatchString(epoch) {
		return wants, nil, "query.epoch: must be the epoch of a message, and comes with seq"
	}
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		return wants, nil, "query.seq: must be the seq of a message, and comes with epoch"
	}
	return wants, &place{epoch, n}, ""
}

var epochForm = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

// refusals turns the plain text that the WebSocket package refuses a handshake with
// into problem documents.
type refusals struct {
	http.ResponseWriter
	status int
}

// WriteHeader holds an error's status back until its text comes.
func (w *refusals) WriteHeader(status int) {
	if status < http.StatusBadRequest {
		w.ResponseWriter.WriteHeader(status)
	}
	w.status = status
}

func (w *refusals) Write(text []byte) (int, error) {
	httpserver.WriteProblem(w.ResponseWriter, w.status, strings.TrimSpace(string(text)))
	return len(text), nil
}

// Unwrap lets the connection be taken over.
func (w *refusals) Unwrap() http.ResponseWriter { return w.ResponseWriter }
