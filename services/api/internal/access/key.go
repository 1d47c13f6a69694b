// Package access decides who may read.
package access

import (
	"log/slog"
	"net/http"

	"weir/services/shared/access"
	"weir/services/shared/httpserver"
)

// The names of keys and tickets in the OpenAPI document.
const (
	Scheme       = "readKey"
	TicketScheme = "liveTicket"
)

// Keys are the read keys. With none everybody may read, which configuration allows
// in development only.
type Keys struct {
	access.Keys
	tickets *Tickets // in the place of keys, for Handler
}

// Source is where the keys come from.
type Source = access.Source

// New makes the set of keys. The error names the setting that is wrong.
func New(source Source, tickets *Tickets, log *slog.Logger) (Keys, error) {
	keys, err := access.New("read", source, log)
	return Keys{keys, tickets}, err
}

// Good reports whether who was let in still may be: the key was not withdrawn since.
type Good func() bool

// Handler lets whoever has a key or, in the query, a ticket, reach a handler that is not an
// operation. What goes on for long asks Good now and then.
func (k Keys) Handler(next func(http.ResponseWriter, *http.Request, Good)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var pass access.Pass
		if ticket := r.URL.Query().Get("ticket"); ticket != "" {
			var known bool
			var err error
			if pass, known, err = k.tickets.spend(r.Context(), ticket); err != nil {
				w.Header().Set("Retry-After", "2")
				httpserver.WriteProblem(w, http.StatusServiceUnavailable, "Tickets cannot be looked up just now; try again after the seconds in Retry-After.")
				return
			}
			if !known || !k.Good(pass) {
				httpserver.WriteProblem(w, http.StatusForbidden, "The ticket is not known, was used, or is older than 30 seconds; POST /v1/live/tickets gives another.")
				return
			}
		} else {
			var status int
			if pass, status = k.Admit(r.Header.Get("Authorization")); status != 0 {
				if status == http.StatusUnauthorized {
					w.Header().Set("WWW-Authenticate", "Bearer")
				}
				httpserver.WriteProblem(w, status, k.Refusal(status))
				return
			}
		}
		next(w, r, func() bool { return k.Good(pass) })
	})
}

// Required is what an operation that needs a key declares.
func Required() []map[string][]string { return []map[string][]string{{Scheme: {}}} }

// RequiredOrTicket is what the live feed declares.
func RequiredOrTicket() []map[string][]string {
	return append(Required(), map[string][]string{TicketScheme: {}})
}
