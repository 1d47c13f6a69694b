package generator

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/shared/access"
	"weir/services/shared/httpserver"
)

// Status is the answer of every operation on the generator.
type Status struct {
	State      string     `json:"state" enum:"stopped,running,held,finished" doc:"running; held back, because events are refused; finished, as the volume is reached; or stopped"`
	Settings   Settings   `json:"settings" doc:"What the run is like, or the next one"`
	StartedAt  *time.Time `json:"started_at,omitempty" doc:"When the run began, or the last one: with the settings and run_seed this gives the same events again" example:"2026-01-02T15:04:05.123456789Z"`
	RunSeed    int64      `json:"run_seed,omitempty" doc:"The seed that it uses" example:"1767366245123456"`
	Rate       float64    `json:"intended_rate" doc:"Events per second that are due now; 0 when nothing runs" example:"500"`
	Behind     float64    `json:"behind_seconds" doc:"How late the next event is" example:"0"`
	Statistics Figures    `json:"statistics" doc:"Of the run, or the last one"`
}

type statusOutput struct{ Body Status }

type changeInput struct{ Body Change }

// Register adds the operations that control the generator, for whoever has one of the
// admin keys. Closed they are refused to everybody: in production without any key.
func (g *Generator) Register(api httpserver.API, keys access.Keys, closed bool) {
	access.DescribeAdmin(api.OpenAPI())
	group := huma.NewGroup(api.API)
	group.UseMiddleware(keys.Operations(api))
	if closed {
		group.UseMiddleware(func(ctx huma.Context, _ func(huma.Context)) {
			_ = huma.WriteErr(api, ctx, http.StatusForbidden, "The generator is not controlled over HTTP in production unless ADMIN_KEYS is set.")
		})
	}
	operation := func(method, path, id, summary, description string) huma.Operation {
		o := huma.Operation{
			OperationID: id, Method: method, Path: path, Tags: []string{"Generator"}, Summary: summary, Description: description,
			Security: access.NeedsAdmin(),
		}
		if method == http.MethodPatch {
			o.Errors = []int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}
		}
		return o
	}
	huma.Register(group, operation(http.MethodGet, "/v1/generator", "get-generator", "What is the generator doing?",
		"State, settings and statistics. Latency is counted from when an event was due, so a slow pipeline cannot hide by slowing the generator down."),
		func(context.Context, *struct{}) (*statusOutput, error) { return g.answer(nil) })
	huma.Register(group, operation(http.MethodPatch, "/v1/generator", "change-generator", "Change the settings",
		"What is left out stays. During a run, rate, shape, journey, faults, volume and overload change at once; a profile, arrivals or a seed begins a new run. One wrong setting, and nothing is changed."),
		func(ctx context.Context, in *changeInput) (*statusOutput, error) {
			return g.answer(g.Change(ctx, in.Body))
		})
	change := api.OpenAPI().Paths["/v1/generator"].Patch.RequestBody.Content["application/json"]
	change.Example = json.RawMessage(`{"rate": 2000, "faults": {"late": 0.1, "late_by": "1h"}}`)
	huma.Register(group, operation(http.MethodPost, "/v1/generator/start", "start-generator", "Begin a run",
		"Statistics begin at zero. During a run it changes nothing."),
		func(context.Context, *struct{}) (*statusOutput, error) { return g.answer(g.Start()) })
	huma.Register(group, operation(http.MethodPost, "/v1/generator/stop", "stop-generator", "End the run",
		"Answers once what was on its way has arrived; what is held back is given up. Statistics stay. Without a run it changes nothing."),
		func(ctx context.Context, _ *struct{}) (*statusOutput, error) { return g.answer(g.Stop(ctx)) })
	huma.Register(group, operation(http.MethodPost, "/v1/generator/reset", "reset-generator", "Begin anew",
		"Ends the run, and brings back the settings that the service was started with and statistics that are zero."),
		func(ctx context.Context, _ *struct{}) (*statusOutput, error) { return g.answer(g.Reset(ctx)) })
}

// answer is the status after an operation, or its problem.
func (g *Generator) answer(err error) (*statusOutput, error) {
	var wrong ErrWrong
	if errors.As(err, &wrong) {
		var details []error
		for _, line := range strings.Split(wrong.Error(), "\n") {
			where, what, _ := strings.Cut(line, ": ")
			details = append(details, &huma.ErrorDetail{Location: strings.Replace(where, "profile", "body", 1), Message: what})
		}
		return nil, huma.Error422UnprocessableEntity("Nothing was changed: errors lists what is wrong.", details...)
	}
	if err != nil {
		return nil, err
	}
	return &statusOutput{g.Status()}, nil
}

// Status reports what the generator does.
func (g *Generator) Status() Status {
	g.mu.Lock()
	r, statistics := g.run, g.last
	s := Status{State: "stopped", Settings: g.settings, RunSeed: g.seed}
	if !g.started.IsZero() {
		at := g.started
		s.StartedAt = &at
	}
	g.mu.Unlock()
	if r == nil {
		s.Statistics = statistics.Figures()
		return s
	}
	r.mu.Lock()
	finished := r.finished
	s.Rate = r.Source.Rate()
	if due, more := r.Source.Peek(); more {
		s.Behind = max(0, time.Since(r.Start)-due).Seconds()
	}
	r.mu.Unlock()
	s.Statistics = statistics.Figures() // only now: those of a run that has finished are of all of it
	switch {
	case finished:
		s.State, s.Rate = "finished", 0
	case s.Settings.Overload == Hold && !g.publisher.Open():
		s.State = "held"
	default:
		s.State = "running"
	}
	return s
}
