package control

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Outcome is what replay and discard did, or would do.
type Outcome struct {
	Matching int64 `json:"matching" doc:"Dead letters that the filter chose when the call began" example:"120"`
	Done     int64 `json:"done" doc:"Of those, replayed or discarded by this call; 0 on a dry run" example:"0"`
	DryRun   bool  `json:"dry_run" doc:"Whether this only counted"`
}

type actInput struct {
	Filter
	All    bool  `query:"all" doc:"Needed to act on all dead letters, without any filter"`
	DryRun bool  `query:"dry_run" doc:"Only count what would be done"`
	Limit  int64 `query:"limit" minimum:"1" maximum:"100000" default:"10000" doc:"Most dead letters of one call, oldest first; call again for the rest"`
}

// Resolve implements huma.Resolver.
func (in *actInput) Resolve(ctx huma.Context) []error {
	if errs := in.Filter.Resolve(ctx); errs != nil {
		return errs
	}
	if in.letters().Any() && !in.All && !in.DryRun {
		return []error{&huma.ErrorDetail{Location: "query.all", Message: "must be true to act on all dead letters; or give a filter", Value: false}}
	}
	return nil
}

type actOutput struct{ Body Outcome }

func (c *Control) registerReplay(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "replay-dead-letters", Method: http.MethodPost, Path: "/v1/dead-letters/replay", Tags: []string{"Dead letters"},
		Summary: "Send dead letters through again",
		Description: "Puts the events back on their stream with the ids that they had, and removes each dead letter once Redis has it. " +
			"An event that is sent twice, or was stored meanwhile, is recognised and stored once. What fails again becomes a new dead letter. " +
			"After an error, what was done is done: call again for the rest. Try with dry_run first.",
		Errors: letterErrors,
	}, func(ctx context.Context, in *actInput) (*actOutput, error) {
		return c.act(ctx, in, func(ctx context.Context) (int64, error) { return c.Letters.Replay(ctx, in.letters(), in.Limit) })
	})

	huma.Register(api, huma.Operation{
		OperationID: "discard-dead-letters", Method: http.MethodPost, Path: "/v1/dead-letters/discard", Tags: []string{"Dead letters"},
		Summary:     "Throw dead letters away",
		Description: "Removes them for ever, oldest first. Try with dry_run first.",
		Errors:      letterErrors,
	}, func(ctx context.Context, in *actInput) (*actOutput, error) {
		return c.act(ctx, in, func(ctx context.Context) (int64, error) { return c.Letters.Discard(ctx, in.letters(), in.Limit) })
	})
}

func (c *Control) act(ctx context.Context, in *actInput, do func(context.Context) (int64, error)) (*actOutput, error) {
	out := &actOutput{Outcome{DryRun: in.DryRun}}
	var err error
	if out.Body.Matching, err = c.Letters.Count(ctx, in.letters()); err != nil {
		return nil, c.problem(ctx, err)
	}
	if in.DryRun {
		return out, nil
	}
	out.Body.Done, err = do(ctx)
	c.Log.Info("Worked through dead letters on request.", "matching", out.Body.Matching, "done", out.Body.Done)
	if err != nil {
		return nil, c.problem(ctx, err)
	}
	return out, nil
}
