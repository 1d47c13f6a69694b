package live

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/coder/websocket"

	"weir/services/shared/httpserver"
)

// ServeHTTP makes the request a WebSocket and serves it until either side ends.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resume, fault := parsePlace(r)
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
	// No compression: it would cost 1.2 MB a client.
	conn, err := websocket.Accept(&refusals{ResponseWriter: w}, r, &websocket.AcceptOptions{
		OriginPatterns: h.cfg.Origins, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // the refusal is written
	}
	c := newClient(h.cfg.ClientBuffer)
	first, err := h.add(c, resume)
	if err != nil {
		_ = conn.Close(websocket.StatusGoingAway, err.Error())
		return
	}
	defer h.remove(c)
	if c.serve(conn, first) {
		h.metrics.slow.Inc()
	}
}

var epochForm = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

// parsePlace reads where a client left off. It returns nil when the client did not
// say, and what is wrong with what it said.
func parsePlace(r *http.Request) (resume *place, fault string) {
	q := r.URL.Query()
	for name := range q {
		if name != "epoch" && name != "seq" {
			return nil, "query." + strings.ToValidUTF8(name[:min(len(name), 64)], "") + ": unknown parameter; there are epoch and seq"
		}
	}
	epoch, seq := q.Get("epoch"), q.Get("seq")
	switch {
	case epoch == "" && seq == "":
		return nil, ""
	case !epochForm.MatchString(epoch):
		return nil, "query.epoch: must be the epoch of a message, and comes with seq"
	}
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		return nil, "query.seq: must be the seq of a message, and comes with epoch"
	}
	return &place{epoch, n}, ""
}

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
