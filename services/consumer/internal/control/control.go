// Package control is the consumer's HTTP interface.
package control

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/consumer/internal/pipeline"
	"weir/services/shared/httpserver"
)

// Status is the answer of get-status.
type Status struct {
	State      string      `json:"state" enum:"running,waiting" doc:"running, or waiting while PostgreSQL cannot be written to"`
	Breaker    string      `json:"breaker" enum:"closed,half-open,open" doc:"State of the circuit breaker before PostgreSQL"`
	LastFlush  *time.Time  `json:"last_flush,omitempty" doc:"When a batch last committed; absent before the first"`
	Partitions []Partition `json:"partitions" nullable:"false" doc:"The streams that this consumer reads"`
}

// Partition is one stream's backlog.
type Partition struct {
	Stream     string  `json:"stream" example:"events"`
	Events     int64   `json:"backlog_events" doc:"Entries not acknowledged, waiting and pending" example:"120"`
	Pending    int64   `json:"pending_events" doc:"Of those, given to a consumer" example:"100"`
	AgeSeconds float64 `json:"backlog_age_seconds" doc:"Age of the oldest such entry" example:"0.25"`
}

type statusOutput struct{ Body Status }

// NewAPI returns the consumer's API.
func NewAPI() httpserver.API {
	return httpserver.NewAPI("Weir consumer", "Reads the stream, validates, and writes to TimescaleDB.")
}

// Register adds the operations.
func Register(api huma.API, status func() pipeline.Status) {
	huma.Register(api, huma.Operation{
		OperationID: "get-status", Method: http.MethodGet, Path: "/v1/status", Tags: []string{"Status"},
		Summary:     "What is the consumer doing?",
		Description: "State, backlog per partition (measured about once a second), circuit breaker, and the last successful flush.",
	}, func(context.Context, *struct{}) (*statusOutput, error) {
		s := status()
		out := Status{State: "running", Breaker: s.Breaker, Partitions: []Partition{}}
		if s.Breaker != "closed" {
			out.State = "waiting"
		}
		if !s.LastFlush.IsZero() {
			out.LastFlush = &s.LastFlush
		}
		for _, p := range s.Partitions {
			out.Partitions = append(out.Partitions, Partition{p.Stream, p.Events, p.Pending, p.Age.Seconds()})
		}
		return &statusOutput{out}, nil
	})
}
