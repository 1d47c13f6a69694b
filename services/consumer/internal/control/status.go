package control

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Status is the answer of get-status.
type Status struct {
	State        string      `json:"state" enum:"running,paused,waiting" doc:"running, paused by an operator, or waiting while PostgreSQL cannot be written to"`
	Breaker      string      `json:"breaker" enum:"closed,half-open,open" doc:"State of the circuit breaker before PostgreSQL"`
	Rate         float64     `json:"events_per_second" doc:"Entries done with by this consumer, mean of the last ten seconds" example:"1250.5"`
	LastFlush    *time.Time  `json:"last_flush,omitempty" doc:"When a batch last committed; absent before the first" example:"2026-01-02T15:04:05.123Z"`
	LastBatch    int64       `json:"last_batch_events" doc:"Entries of that batch" example:"5000"`
	BatchLimit   int         `json:"batch_limit_events" doc:"Most entries of a batch now; it grows with the backlog and shrinks with the time of transactions" example:"20000"`
	FlushSeconds float64     `json:"last_flush_seconds" doc:"How long its transaction took" example:"0.031"`
	Partitions   []Partition `json:"partitions" nullable:"false" doc:"The streams that this consumer reads"`
}

// Partition is one stream's backlog.
type Partition struct {
	Stream     string  `json:"stream" doc:"Name of the stream" example:"events"`
	Events     int64   `json:"backlog_events" doc:"Entries not acknowledged, waiting and pending" example:"120"`
	Pending    int64   `json:"pending_events" doc:"Of those, given to a consumer" example:"100"`
	AgeSeconds float64 `json:"backlog_age_seconds" doc:"Age of the oldest such entry" example:"0.25"`
}

type statusOutput struct{ Body Status }

func (c *Control) registerStatus(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "get-status", Method: http.MethodGet, Path: "/v1/status", Tags: []string{"Status"},
		Summary:     "What is the consumer doing?",
		Description: "State, rate, backlog per partition (measured about once a second), circuit breaker, and the last successful flush.",
	}, func(context.Context, *struct{}) (*statusOutput, error) { return &statusOutput{c.status()}, nil })

	huma.Register(api, huma.Operation{
		OperationID: "pause", Method: http.MethodPost, Path: "/v1/pause", Tags: []string{"Status"},
		Summary: "Stop reading",
		Description: "This consumer reads no more until it is resumed or restarted. What it has read is still written; " +
			"the backlog waits in the stream, or goes to other consumers of the group. Pausing again changes nothing.",
	}, func(context.Context, *struct{}) (*statusOutput, error) {
		c.Pipeline.Pause()
		return &statusOutput{c.status()}, nil
	})

	huma.Register(api, huma.Operation{
		OperationID: "resume", Method: http.MethodPost, Path: "/v1/resume", Tags: []string{"Status"},
		Summary:     "Read again",
		Description: "Ends a pause. Without one it changes nothing.",
	}, func(context.Context, *struct{}) (*statusOutput, error) {
		c.Pipeline.Resume()
		return &statusOutput{c.status()}, nil
	})
}

func (c *Control) status() Status {
	s := c.Pipeline.Status()
	out := Status{
		State: "running", Breaker: s.Breaker, Rate: s.Rate,
		LastBatch: s.LastBatch, BatchLimit: s.BatchLimit, FlushSeconds: s.LastTook.Seconds(), Partitions: []Partition{},
	}
	switch {
	case s.Paused:
		out.State = "paused"
	case s.Breaker != "closed":
		out.State = "waiting"
	}
	if !s.LastFlush.IsZero() {
		out.LastFlush = &s.LastFlush
	}
	for _, p := range s.Partitions {
		out.Partitions = append(out.Partitions, Partition{p.Stream, p.Events, p.Pending, p.Age.Seconds()})
	}
	return out
}
