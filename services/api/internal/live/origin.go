package live

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/rs/cors"

	"weir/services/api/internal/access"
)

// admit reports whether the page that asks, if it is one, may open the feed. To one of
// another host it gives leave to read the answer.
func (h *Hub) admit(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // no browser's page
	}
	own, listed := h.origin(r, origin)
	if listed {
		w.Header().Set("Access-Control-Allow-Origin", origin)
	}
	return own || listed
}

// origin reports whether a page's origin is the service's own host, or else one of the
// configured.
func (h *Hub) origin(r *http.Request, origin string) (own, listed bool) {
	u, err := url.Parse(origin)
	if err != nil {
		return false, false
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true, false
	}
	host, full := strings.ToLower(u.Host), strings.ToLower(u.Scheme+"://"+u.Host)
	for _, pattern := range h.cfg.Origins {
		of := host
		if strings.Contains(pattern, "://") {
			of = full
		}
		if ok, _ := path.Match(strings.ToLower(pattern), of); ok {
			return false, true
		}
	}
	return false, false
}

// Guard stands before the service's handler: where tickets are made it answers browsers
// that ask whether their page may send its key. Those that may open the feed may.
func (h *Hub) Guard(next http.Handler) http.Handler {
	if len(h.cfg.Origins) == 0 {
		return next
	}
	tickets := cors.New(cors.Options{
		AllowOriginVaryRequestFunc: func(r *http.Request, origin string) (bool, []string) {
			_, listed := h.origin(r, origin) // the service's own pages need no leave
			return listed, nil
		},
		AllowedMethods: []string{http.MethodPost},
		AllowedHeaders: []string{"Authorization"},
		ExposedHeaders: []string{"Retry-After"},
		MaxAge:         int((2 * time.Hour).Seconds()), // the most that browsers keep it
	}).Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == access.TicketPath {
			tickets.ServeHTTP(w, r)
		} else {
			next.ServeHTTP(w, r)
		}
	})
}
