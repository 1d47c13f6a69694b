// Package logging sets slog up the same way in every service.
package logging

import (
	"io"
	"log/slog"
)

// New returns a logger that writes to w and names the service in each line.
// Format is "json" or "text".
func New(w io.Writer, service, format string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(w, options)
	if format == "text" {
		h = slog.NewTextHandler(w, options)
	}
	return slog.New(h).With("service", service)
}
