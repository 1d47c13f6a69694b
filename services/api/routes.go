package api

import (
	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"weir/services/api/internal/access"
	"weir/services/api/internal/explorer"
	"weir/services/api/internal/live"
	"weir/services/api/internal/metric"
	"weir/services/api/internal/query"
	"weir/services/shared/httpserver"
)

// routes puts the operations together. Only serving needs the reader and the hub.
func routes(registry *prometheus.Registry, keys access.Keys, reader *query.Reader, hub *live.Hub, checks ...httpserver.Check) httpserver.API {
	api := httpserver.NewAPI("Weir API", "Totals, time series and stored events, and a live feed of what arrives.")
	api.OpenAPI().Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		access.Scheme: {Type: "http", Scheme: "bearer", Description: "One of API_READ_KEYS. Without any, in development, none is asked for."},
	}
	api.UseMiddleware(measure(registry), keys.Operations(api))
	api.RegisterHealth(registry, checks...)
	metric.Register(api, reader)
	explorer.Register(api, reader)
	live.Register(api, keys, hub)
	return api
}
