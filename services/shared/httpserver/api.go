// Package httpserver is what the three HTTP services have in common: timeouts,
// health, metrics, documentation, problem documents and graceful shutdown.
package httpserver

import (
	"context"
	"io"
	"net/http"
	"net/http/pprof"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/swaggest/swgui/v5emb"
)

// Version is the version of the services' HTTP contracts.
const Version = "1.0.0"

// API is a service's HTTP interface: Huma operations, and the mux for what is not
// one, such as a WebSocket.
type API struct {
	huma.API
	Mux *http.ServeMux

	seconds *prometheus.HistogramVec // of operations; RegisterHealth shows it
	tracing *tracing
}

// NewAPI makes an API that serves /openapi.json, /openapi.yaml and /docs, whose
// assets are part of the binary: it works without the internet.
func NewAPI(title, description string) API {
	hideInternals()
	mux := http.NewServeMux()
	c := huma.DefaultConfig(title, Version)
	c.Info.Description = description
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Servers = []*huma.Server{{URL: "/", Description: "Where this document comes from"}}
	c.DocsPath = "" // Huma's own page loads its scripts from the internet
	c.RejectUnknownQueryParameters = true
	c.CreateHooks = nil // no $schema member in every answer
	asItIs := huma.Format{Marshal: marshal, Unmarshal: huma.DefaultJSONFormat.Unmarshal}
	c.Formats = map[string]huma.Format{"application/json": asItIs, "json": asItIs}
	mux.Handle("/docs/", v5emb.New(title, "/openapi.json", "/docs/"))
	mux.Handle("/docs", http.RedirectHandler("/docs/", http.StatusMovedPermanently))
	api := API{humago.New(mux, c), mux, newDurations(), &tracing{}}
	api.UseMiddleware(api.tracing.operation, measure(api.seconds))
	return api
}

// Encoded is an answer that is JSON already.
type Encoded interface{ JSON() []byte }

// marshal writes answers. encoding/json would go through what is encoded once more, which
// takes as long as it took to encode it.
func marshal(w io.Writer, answer any) error {
	if ready, ok := answer.(Encoded); ok {
		_, err := w.Write(ready.JSON())
		return err
	}
	return huma.DefaultJSONFormat.Marshal(w, answer)
}

// Config lets Huma find the settings behind the embedding; without it operations
// would be registered with its defaults.
func (a API) Config() huma.Config {
	return a.API.(interface{ Config() huma.Config }).Config()
}

// Check asks one of the servers that a service depends on whether it answers.
type Check struct {
	Name string
	Ping func(context.Context) error
}

// ServerState is one server that a service depends on.
type ServerState struct {
	Name  string `json:"name" example:"redis" doc:"The server"`
	State string `json:"state" enum:"up,down" doc:"Whether it answers"`
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Status  string        `json:"status" enum:"ready,not ready" doc:"Whether the service can do its work"`
	Servers []ServerState `json:"servers" nullable:"false" doc:"The servers that it depends on"`
}

type readyOutput struct {
	Status int
	Body   Readiness
}

type healthOutput struct {
	Body struct {
		Status string `json:"status" enum:"alive" doc:"The process runs"`
	}
}

// RegisterHealth adds /healthz (alive: the process runs), /readyz (the servers it
// depends on answer) and /metrics.
func (a API) RegisterHealth(registry *prometheus.Registry, checks ...Check) {
	huma.Register(a.API, huma.Operation{
		OperationID: "get-health", Method: http.MethodGet, Path: "/healthz", Tags: []string{"Health"},
		Summary: "Is the process alive?", Description: "200 whenever the process answers at all; it asks no server that it depends on.",
	}, func(context.Context, *struct{}) (*healthOutput, error) {
		out := &healthOutput{}
		out.Body.Status = "alive"
		return out, nil
	})
	huma.Register(a.API, huma.Operation{
		OperationID: "get-readiness", Method: http.MethodGet, Path: "/readyz", Tags: []string{"Health"},
		Summary:     "Can the service do its work?",
		Description: "200 when every server that it depends on answers within two seconds, else 503; each is named with its state.",
		Responses:   map[string]*huma.Response{"503": {Description: "A server does not answer", Content: readinessContent(a)}},
	}, func(ctx context.Context, _ *struct{}) (*readyOutput, error) {
		r := ready(ctx, checks)
		status := http.StatusOK
		if r.Status != "ready" {
			status = http.StatusServiceUnavailable
		}
		return &readyOutput{status, r}, nil
	})
	registry.MustRegister(a.seconds)
	a.Mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
}

// RegisterProfiles adds Go's profiles at /debug/pprof/.
func (a API) RegisterProfiles() {
	a.Mux.HandleFunc("/debug/pprof/", pprof.Index) // heap, goroutine and the like
	a.Mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	a.Mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	a.Mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	a.Mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
}

func readinessContent(a API) map[string]*huma.MediaType {
	schema := huma.SchemaFromType(a.OpenAPI().Components.Schemas, typeOf[Readiness]())
	return map[string]*huma.MediaType{"application/json": {Schema: schema,
		Example: Readiness{"not ready", []ServerState{{"redis", "down"}, {"postgres", "up"}}}}}
}

func ready(ctx context.Context, checks []Check) Readiness {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	r := Readiness{Status: "ready", Servers: make([]ServerState, len(checks))}
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			r.Servers[i] = ServerState{c.Name, "up"}
			if c.Ping(ctx) != nil {
				r.Servers[i].State = "down"
			}
		})
	}
	wg.Wait()
	for _, s := range r.Servers {
		if s.State == "down" {
			r.Status = "not ready"
		}
	}
	return r
}
