package collector

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rs/cors"

	"weir/services/shared/httpserver"
)

// Config bounds what clients may do.
type Config struct {
	RateLimit float64 `env:"INGESTION_RATE_LIMIT" default:"0" min:"0" max:"1e9" help:"Events per second that each write key may send; 0 is no limit. Without keys all senders share it."`
	RateBurst int     `env:"INGESTION_RATE_BURST" default:"20000" min:"1" max:"1000000000" help:"Events that a write key may send at once after a rest, if there is a limit. A request with more is refused."`

	MaxRequests int           `env:"INGESTION_MAX_REQUESTS" default:"2000" min:"1" max:"1000000" help:"Requests with events under way at once; one more is answered with 503."`
	BodyMemory  int64         `env:"INGESTION_BODY_MEMORY" default:"268435456" min:"10485760" help:"Bytes of requests, decoded, under way at once; a request for which there is no room is answered with 503."`
	BodyTimeout time.Duration `env:"INGESTION_BODY_TIMEOUT" default:"20s" min:"100ms" max:"10m" help:"How long the body of a request may take to arrive."`

	Origins []string `env:"INGESTION_ORIGINS" help:"Origins whose pages may send events by fetch, such as https://example.com or https://*.example.com; * is any. Images and navigator.sendBeacon need none."`
}

// Validate implements config.Validator.
func (c Config) Validate() error {
	for _, origin := range c.Origins {
		u, err := url.Parse(strings.Replace(origin, "*", "any", 1))
		if origin != "*" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || origin != strings.TrimRight(origin, "/") || u.Path+u.RawQuery+u.Fragment != "" || u.User != nil || strings.Contains(u.Host, "*")) {
			return errors.New("INGESTION_ORIGINS must list origins such as https://example.com or https://*.example.com, or *")
		}
	}
	return nil
}

// Open adds a path to the entrances, which Guard guards.
func (c *Collector) Open(path string) { c.entrances[path] = true }

// answerTimeout bounds how long a client may take to read its answer.
const answerTimeout = 10 * time.Second

// Guard stands before the service's handler: at the entrances it answers browsers that
// ask whether their page may send, bounds the requests under way, and gives each a
// time by which its client must have read the answer.
func (c *Collector) Guard(next http.Handler) http.Handler {
	entrance := c.bounded(next)
	if len(c.Config.Origins) > 0 { // an empty list would mean any to the library
		// This is not access control: a page needs no permission to send plain text, as
		// sendBeacon does. It is write keys that decide whose events are taken.
		entrance = cors.New(cors.Options{
			AllowedOrigins: c.Config.Origins,
			AllowedMethods: []string{http.MethodPost},
			AllowedHeaders: []string{"*"}, // a CloudEvent's attributes are headers
			ExposedHeaders: []string{"Retry-After", "RateLimit", "RateLimit-Policy"},
			MaxAge:         int((2 * time.Hour).Seconds()), // the most that browsers keep it
		}).Handler(entrance)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.entrances[r.URL.Path] {
			entrance.ServeHTTP(w, r)
		} else {
			next.ServeHTTP(w, r)
		}
	})
}

func (c *Collector) bounded(next http.Handler) http.Handler {
	slots := make(chan struct{}, c.Config.MaxRequests)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			c.refusals.WithLabelValues("503").Inc()
			w.Header().Set("Retry-After", "1")
			httpserver.WriteProblem(w, http.StatusServiceUnavailable, "Too many requests are under way. Send this one again, a little later.")
			return
		}
		connection := http.NewResponseController(w)
		_ = connection.SetWriteDeadline(time.Now().Add(c.Config.BodyTimeout + publishTimeout + answerTimeout))
		next.ServeHTTP(w, r)
		_ = connection.SetWriteDeadline(time.Time{}) // the connection's next request may be none of ours
	})
}
