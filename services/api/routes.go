package api

import (
	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"weir/services/api/internal/access"
	"weir/services/api/internal/behaviour"
	"weir/services/api/internal/dashboard"
	"weir/services/api/internal/explorer"
	"weir/services/api/internal/live"
	"weir/services/api/internal/metric"
	"weir/services/api/internal/query"
	"weir/services/api/internal/status"
	"weir/services/shared/httpserver"
)

// routes puts the operations together. Only serving needs the reader, the hub and the pipeline.
func routes(registry *prometheus.Registry, keys access.Keys, reader *query.Reader, cfg Config, hub *live.Hub, pipeline status.Source, checks ...httpserver.Check) httpserver.API {
	api := httpserver.NewAPI("Weir API", "Totals, time series and stored events, and a live feed of what arrives.")
	api.OpenAPI().Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		access.Scheme:       {Type: "http", Scheme: "bearer", Description: "One of API_READ_KEYS. Without any, in development, none is asked for."},
		access.TicketScheme: {Type: "apiKey", In: "query", Name: "ticket", Description: "A ticket of create-live-ticket, for one connection to the live feed."},
	}
	api.UseMiddleware(keys.Operations(api))
	api.RegisterHealth(registry, checks...)
	metric.Register(api, reader, cfg.RollupMemory)
	behaviour.Register(api, reader, cfg.EventMemory)
	explorer.Register(api, reader)
	status.Register(api, pipeline)
	live.Register(api, keys, hub)
	access.RegisterTickets(api, keys)
	dashboard.Register(api.Mux)
	api.Describe(map[string]string{
		"Behaviour": "What users do one after the other: sessions, funnels, retention, paths",
		"Events":    "The stored events themselves",
		"Health":    "For orchestrators and load balancers",
		"Live":      "Numbers as they happen",
		"Metrics":   "Counts, values, users and sessions of a range",
		"Pipeline":  "How the pipeline is doing",
	})
	return api
}
