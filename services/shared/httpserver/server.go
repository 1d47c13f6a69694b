package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"weir/services/shared/config"
)

// Server serves an API until it is told to stop.
type Server struct {
	Addr  string // host:port; port 0 takes a free one
	API   API
	Log   *slog.Logger
	Grace time.Duration // how long requests under way may take after the end
	TLS   config.TLS    // HTTPS, if enabled

	// Guard, if set, stands before the API's handler.
	Guard func(http.Handler) http.Handler

	// Listening, if set, is called with the address once connections are taken.
	Listening func(addr string)
}

// Run serves until ctx ends, then takes no more connections and waits for the
// requests under way, for Grace at most. Connections that were taken over, such
// as WebSockets, are their owner's to close.
func (s *Server) Run(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	handler := problems(s.API.Mux)
	if s.Guard != nil {
		handler = s.Guard(handler)
	}
	server := &http.Server{
		Handler: s.logged(handler),
		// A client gets five seconds for its headers and a minute for its body, so
		// slow ones cannot hold connections for ever. Answers have no deadline:
		// exports and live feeds are long, and have their own.
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		// Over HTTP/2 the deadline of one answer ends nothing while the connection it shares
		// takes nothing.
		HTTP2:          &http.HTTP2Config{WriteByteTimeout: time.Minute},
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		// Requests outlive ctx: they are given Grace to finish.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	if s.TLS.Enabled() {
		if server.TLSConfig, err = tlsConfig(s.TLS, s.Log); err != nil {
			return errors.Join(err, ln.Close())
		}
	}
	s.Log.Info("Listening.", "address", ln.Addr().String())
	if s.Listening != nil {
		s.Listening(ln.Addr().String())
	}

	stopped := make(chan struct{})
	go func() {
		if s.TLS.Enabled() {
			err = server.ServeTLS(ln, "", "")
		} else {
			err = server.Serve(ln)
		}
		close(stopped)
	}()
	select {
	case <-stopped:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Grace)
	defer cancel()
	unfinished := server.Shutdown(grace)
	if unfinished != nil {
		unfinished = errors.Join(fmt.Errorf("requests did not finish in %v: %w", s.Grace, unfinished), server.Close())
	}
	<-stopped
	return unfinished
}

// logged logs the requests that failed through no fault of the client's, with the
// cause that the answer does not tell.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cause := withCause(r.Context())
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { //nolint:errorlint // a panic value, never wrapped
					panic(p)
				}
				s.Log.ErrorContext(cause.within, "Request panicked.", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				WriteProblem(w, http.StatusInternalServerError, internalError)
			}
			if cause.err != nil && !errors.Is(cause.err, context.Canceled) {
				s.Log.ErrorContext(cause.within, "Request failed.", "method", r.Method, "path", r.URL.Path, "error", cause.err)
			}
		}()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
