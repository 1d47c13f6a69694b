package generator

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

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

// Register adds the operations that control the generator. Unless production is
// false or a key is configured, they are refused.
func (g *Generator) Register(api httpserver.API, production bool) {
	group := huma.NewGroup(api.API)
	group.UseMiddleware(g.guard(api, production))
	operation := func(method, path, id, summary, description string) huma.Operation {
		o := huma.Operation{
			OperationID: id, Method: method, Path: path, Tags: []string{"Generator"}, Summary: summary, Description: description,
			Errors: []int{http.StatusUnauthorized, http.StatusForbidden},
		}
		if method == http.MethodPatch {
			o.Errors = append(o.Errors, http.StatusUnprocessableEntity)
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

// guard lets those in who have the control key.
func (g *Generator) guard(api huma.API, production bool) func(huma.Context, func(huma.Context)) {
	const prefix = "bearer "
	return func(ctx huma.Context, next func(huma.Context)) {
		given := ctx.Header("Authorization")
		if len(given) >= len(prefix) && strings.EqualFold(given[:len(prefix)], prefix) {
			given = given[len(prefix):]
		}
		want, got := sha256.Sum256([]byte(g.config.ControlKey)), sha256.Sum256([]byte(given))
		switch {
		case g.config.ControlKey == "" && !production:
			next(ctx)
		case g.config.ControlKey == "":
			_ = huma.WriteErr(api, ctx, http.StatusForbidden, "The generator is not controlled over HTTP in production unless GENERATOR_CONTROL_KEY is set.")
		case given == "":
			ctx.SetHeader("WWW-Authenticate", `Bearer realm="weir generator"`)
			_ = huma.WriteErr(api, ctx, http.StatusUnauthorized, "The control key is required: send it as `Authorization: Bearer <key>`.")
		case subtle.ConstantTimeCompare(want[:], got[:]) != 1:
			_ = huma.WriteErr(api, ctx, http.StatusForbidden, "This is not the control key.")
		default:
			next(ctx)
		}
	}
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
	s.Statistics = statistics.Figures()
	if r == nil {
		return s
	}
	r.mu.Lock()
	finished := r.finished
	s.Rate = r.Source.Rate()
	if due, more := r.Source.Peek(); more {
		s.Behind = max(0, time.Since(r.Start)-due).Seconds()
	}
	r.mu.Unlock()
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
