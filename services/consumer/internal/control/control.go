// Package control is the consumer's HTTP interface.
package control

import (
	"log/slog"

	"weir/services/consumer/internal/deadletter"
	"weir/services/consumer/internal/pipeline"
	"weir/services/shared/httpserver"
)

// Control is what the operations act on. Its zero value is enough to describe them.
type Control struct {
	Pipeline *pipeline.Pipeline
	Letters  *deadletter.Letters
	Log      *slog.Logger
}

// NewAPI returns the consumer's API.
func NewAPI() httpserver.API {
	return httpserver.NewAPI("Weir consumer", "Reads the stream, validates, and writes to TimescaleDB.")
}

// Register adds the operations.
func (c *Control) Register(api httpserver.API) {
	c.registerStatus(api)
	c.registerLetters(api)
	c.registerReplay(api)
}
