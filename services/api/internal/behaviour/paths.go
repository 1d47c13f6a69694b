package behaviour

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
)

// maxPathSteps is how many events a path has besides the one that it is about.
const maxPathSteps = 5

type pathsInput struct {
	span.Between
	span.Known
	filter.Input
	Start     string `query:"start" required:"true" maxLength:"4096" doc:"A filter that takes the event that the paths begin with, or lead to" example:"type is \"add_to_cart\""`
	Direction string `query:"direction" enum:"after,before" default:"after" doc:"What is done after that event, or before it"`
	Steps     int    `query:"steps" minimum:"1" maximum:"5" default:"3" doc:"How many events are followed"`
	By        string `query:"by" enum:"type,path" default:"type" doc:"What an event is called: its type; or its path, and then only page views are followed"`
	Limit     int    `query:"limit" minimum:"1" maximum:"50" default:"10" doc:"How many paths are shown, and how many transitions of each step"`
}

// Paths is the answer of /v1/paths.
type Paths struct {
	Meta        PathsMeta    `json:"meta"`
	Sessions    int64        `json:"sessions" doc:"Sessions with such an event in the range" example:"500"`
	Paths       []PathCount  `json:"paths" nullable:"false" doc:"The most frequent ones"`
	Other       int64        `json:"other" doc:"Sessions that went any other way" example:"30"`
	Transitions []Transition `json:"transitions" nullable:"false" doc:"From one event to the next, step by step, the most frequent of each step first"`
}

// PathsMeta says what the answer is about.
type PathsMeta struct {
	span.Meta
	Direction string `json:"direction" example:"after"`
	By        string `json:"by" example:"type"`
}

// PathCount is a way that sessions went.
type PathCount struct {
	Path     []string `json:"path" nullable:"false" doc:"The events in the order of time. After the event, a path shorter than asked for ends the session; before it, begins it" example:"[\"add_to_cart\",\"checkout\",\"purchase\"]"`
	Sessions int64    `json:"sessions" example:"120"`
	Share    float64  `json:"share" doc:"Of all sessions with such an event" example:"0.24"`
}

// Transition is how many sessions went from one event to the next at the same step.
type Transition struct {
	Step     int    `json:"step" doc:"1 for the one next to the event that the paths are about" example:"1"`
	From     string `json:"from" doc:"The earlier event; empty in what sums all other transitions of the step" example:"add_to_cart"`
	To       string `json:"to" doc:"The later event" example:"checkout"`
	Other    bool   `json:"other" doc:"Whether this sums all other transitions of the step"`
	Sessions int64  `json:"sessions" example:"200"`
}

func registerPaths(api huma.API, q *questions) {
	huma.Register(api, huma.Operation{
		OperationID: "get-paths", Method: http.MethodGet, Path: "/v1/paths", Tags: []string{"Behaviour"},
		Summary: "What is done after an event, or before it",
		Description: "In each session (events with a session_id in common) with an event in the range that start takes: the events that follow the first " +
			"such event, or the ones that lead to it, in the order of time, then id. The filter leaves out events, so that they are passed over. " +
			"What happens more than an hour outside the range is not looked at. Answered from the raw events, over at most 31 days and " +
			"two million sessions. " + turns,
		Security: access.Required(), Errors: query.Errors, Responses: span.NotModified(),
	}, func(ctx context.Context, in *pathsInput) (*span.Output[Paths], error) {
		s, where, err := about(in.Between, in.Input)
		if err != nil {
			return nil, err
		}
		start, err := filter.Parse(in.Start)
		if err != nil {
			return nil, query.Invalid("start", err.Error(), in.Start)
		}
		done, err := q.turn(ctx)
		if err != nil {
			return nil, err
		}
		defer done()
		before := in.Direction == "before"
		var known names
		r := reading[deed]{from: s.From, to: s.To.Add(margin), first: s.From, where: where, order: inOrder[deed]}
		if before {
			r.from, r.to = s.From.Add(-margin), s.To
		}
		r.scan.follow(where, start, s, in.By)
		r.decoder = func() func(*deed, [][]byte) error { return decodeDeed(known.reader()) }
		if start.Within(remembered...) || in.By == "type" { // else any path may be asked for
			r.recall = recallTrail(start, s, in.By, &known)
			r.tell(start)
		}
		t := newTrails(in.Steps, before)
		asOf, err := run(ctx, q, r, t.add)
		if err != nil {
			return nil, err
		}
		body := t.answer(known.text, in.Limit)
		body.Meta = PathsMeta{span.Meta{From: s.From, To: s.To, ServedBy: span.Raw, AsOf: asOf}, in.Direction, in.By}
		return span.Answer(in.Known, r.to, body.Meta.AsOf, &body)
	})
}

// follow asks for the events of sessions, with a bit for those that paths may be about.
func (s *scan) follow(where, start filter.Expr, of span.Span, by string) {
	starts := "(time >= " + s.arg(of.From) + " AND time < " + s.arg(of.To) + " AND " + start.SQL(s.arg) + ")"
	s.condition = "session_id IS NOT NULL AND " + where.SQL(s.arg)
	label := "type"
	if by == "path" {
		label = "coalesce(path, '')"
		s.condition += " AND (type = 'page_view' OR " + starts + ")"
	}
	s.columns = "session_id, time, id, " + mask(starts) + ", " + label
}

// recallTrail does with what is remembered as follow does with the table.
func recallTrail(start filter.Expr, of span.Span, by string, known *names) func(*acts) (func(*act, uint16, *deed) bool, error) {
	from, to := of.From.UnixMicro(), of.To.UnixMicro()
	return func(a *acts) (func(*act, uint16, *deed) bool, error) {
		type label struct {
			hash
			starts, followed bool
		}
		starting := a.masks(start)
		each := make([]label, len(a.whats))
		for i, k := range a.kinds {
			each[k.what].starts = each[k.what].starts || starting[i] != 0
		}
		for i := range a.whats {
			w := &a.whats[i]
			hash, name := w.typeHash, w.typ
			if by == "path" {
				hash, name = w.pathHash, w.path // of no path too
			}
			each[i].hash, each[i].followed = hash, by != "path" || w.typ == "page_view"
			if !each[i].followed && !each[i].starts {
				continue
			}
			if err := known.add(hash, name); err != nil {
				return nil, err
			}
		}
		labels := make([]label, len(a.kinds))
		for i, k := range a.kinds {
			labels[i] = each[k.what]
			labels[i].starts = starting[i] != 0
		}
		return func(one *act, tags uint16, d *deed) bool {
			l := &labels[one.kind]
			*d = deed{moment: moment{time: a.time(one)}, who: one.session, label: l.hash}
			if (l.starts || tags != 0) && d.time >= from && d.time < to {
				d.steps = 1
			}
			return d.who != 0 && (l.followed || d.steps != 0)
		}, nil
	}
}
