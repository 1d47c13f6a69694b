// Package control is the consumer's HTTP interface.
package control

import (
	"log/slog"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"weir/services/consumer/internal/deadletter"
	"weir/services/consumer/internal/pipeline"
	"weir/services/shared/access"
	"weir/services/shared/httpserver"
)

// Control is what the operations act on. Its zero value is enough to describe them.
type Control struct {
	Pipeline *pipeline.Pipeline
	Letters  *deadletter.Letters
	Log      *slog.Logger
}

// API puts the operations together: those on the consumer for whoever has one of the
// admin keys, and its health for everybody.
func (c *Control) API(keys access.Keys, registry *prometheus.Registry, checks ...httpserver.Check) httpserver.API {
	api := httpserver.NewAPI("Weir consumer", "Reads the stream, validates, and writes to TimescaleDB.")
	access.DescribeAdmin(api.OpenAPI())
	guarded := huma.NewGroup(api.API)
	guarded.UseMiddleware(keys.Operations(api))
	guarded.UseSimpleModifier(func(o *huma.Operation) { o.Security = access.NeedsAdmin() })
	c.registerStatus(guarded)
	c.registerLetters(guarded)
	c.registerReplay(guarded)
	api.RegisterHealth(registry, checks...)
	api.Describe(map[string]string{
		"Dead letters": "Events that could not be stored: to look at, to send through again, to throw away",
		"Health":       "For orchestrators and load balancers",
		"Status":       "What the consumer does, and whether it reads",
	})
	return api
}
