package behaviour

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
	"weir/services/shared/rollup"
)

type funnelInput struct {
	span.Between
	span.Known
	filter.Input
	Step    []string `query:"step,explode" minItems:"2" maxItems:"10" required:"true" doc:"A filter that takes the events of one step; given once for each, in order, 2 to 10 times" example:"[\"type is \\\"page_view\\\"\",\"type is \\\"purchase\\\"\"]"`
	Window  string   `query:"window" default:"1d" maxLength:"16" doc:"How long after the first step the others count, such as 30m, 12h or 7d; at most 30d" example:"7d"`
	GroupBy string   `query:"group_by" enum:"type,source,path,referrer,country,device,browser,os" doc:"Also for each of the most frequent values that this field has in the event of the first step"`
	Limit   int      `query:"limit" minimum:"1" maximum:"50" default:"5" doc:"How many groups are shown apart"`
}

// Funnel is the answer of /v1/funnel.
type Funnel struct {
	Meta   FunnelMeta    `json:"meta"`
	Steps  []FunnelStep  `json:"steps" nullable:"false" doc:"All users"`
	Groups []FunnelGroup `json:"groups,omitempty" doc:"With group_by: the groups with most users at the first step, then all else. Together they are all users"`
}

// FunnelMeta says what the answer is about.
type FunnelMeta struct {
	span.Meta
	Window  string `json:"window" example:"7d"`
	GroupBy string `json:"group_by,omitempty" example:"country"`
}

// FunnelGroup are the users whose event of the first step has a value in common.
type FunnelGroup struct {
	Group *string      `json:"group,omitempty" doc:"The value; absent in the group of all else" example:"DE"`
	Other bool         `json:"other" doc:"Whether this is all else: the other values, and the users without one"`
	Steps []FunnelStep `json:"steps" nullable:"false"`
}

// FunnelStep is one step of a funnel.
type FunnelStep struct {
	Step          string   `json:"step" doc:"Its filter" example:"type is \"purchase\""`
	Users         int64    `json:"users" doc:"Users who came to this step at least" example:"120"`
	OfFirst       float64  `json:"of_first" doc:"Share of the users of the first step; 0 without any" example:"0.12"`
	OfPrevious    float64  `json:"of_previous" doc:"Share of the users of the step before; for the first, 1, or 0 without any" example:"0.4"`
	MedianSeconds *float64 `json:"median_seconds,omitempty" doc:"Median time since the step before; absent for the first, and without users" example:"73.5"`
}

func registerFunnel(api huma.API, q *questions) {
	huma.Register(api, huma.Operation{
		OperationID: "get-funnel", Method: http.MethodGet, Path: "/v1/funnel", Tags: []string{"Behaviour"},
		Summary: "How many users take each of some steps, one after the other",
		Description: "A user is a user_id, else an anonymous_id. An attempt begins with any event of the first step in the range; " +
			"each further step is a later event (by time, then id; the same event is never two steps), and no later than window " +
			"after the first, so events after the end of the range are read too. Of a user's attempts the one that gets furthest counts; " +
			"of those, the one that gets there first; and of those, the one that began last. Its times make the medians, and its first event " +
			"the group. Answered from the raw events, over at most 31 days and two million users. " + turns,
		Security: access.Required(), Errors: query.Errors, Responses: span.NotModified(),
	}, func(ctx context.Context, in *funnelInput) (*span.Output[Funnel], error) {
		s, where, err := about(in.Between, in.Input)
		if err != nil {
			return nil, err
		}
		window, ok := parseWindow(in.Window)
		if !ok {
			return nil, query.Invalid("window", "must be a duration from 1s to 30d, such as 30m, 12h or 7d", in.Window)
		}
		steps := make([]filter.Expr, len(in.Step))
		for i, text := range in.Step {
			if steps[i], err = filter.Parse(text); err != nil {
				return nil, query.Invalid(fmt.Sprintf("step[%d]", i), err.Error(), text)
			}
		}
		done, err := q.turn(ctx)
		if err != nil {
			return nil, err
		}
		defer done()
		var known names
		r := reading[deed]{from: s.From, to: s.To.Add(window), first: s.From, where: where, order: inOrder[deed]}
		r.scan.choose(where, steps, s, in.GroupBy)
		r.decoder = func() func(*deed, [][]byte) error { return decodeDeed(known.reader()) }
		if in.GroupBy == "" || slices.Contains(remembered, in.GroupBy) && steps[0].Within(remembered...) {
			r.recall = recallSteps(steps, s, in.GroupBy, &known)
			r.tell(steps...)
		}
		f := newFunnel(len(steps), window)
		asOf, err := run(ctx, q, r, f.add)
		if err != nil {
			return nil, err
		}
		body := f.answer(in.Step, known.text, in.GroupBy != "", in.Limit)
		body.Meta = FunnelMeta{span.Meta{From: s.From, To: s.To, ServedBy: span.Raw, AsOf: asOf}, in.Window, in.GroupBy}
		return span.Answer(in.Known, r.to, body.Meta.AsOf, &body)
	})
}

// actor is who did it, as event.Actor has it.
const actor = "coalesce(user_id, anonymous_id)"

// choose asks for the events of any step, with a bit for each step that they are of.
// Only those in the range may be a first step.
func (s *scan) choose(where filter.Expr, steps []filter.Expr, of span.Span, groupBy string) {
	label := "NULL"
	any := make([]string, len(steps))
	for i, step := range steps {
		any[i] = step.SQL(s.arg)
		if i == 0 {
			any[i] = "(time < " + s.arg(of.To) + " AND " + any[i] + ")"
			if groupBy != "" {
				label = "CASE WHEN " + any[i] + " THEN " + rollup.Column(groupBy) + " END"
			}
		}
	}
	s.columns = actor + ", time, id, " + mask(any...) + ", " + label
	s.condition = where.SQL(s.arg) + " AND (" + strings.Join(any, " OR ") + ")"
}

// recallSteps does with what is remembered as choose does with the table.
func recallSteps(steps []filter.Expr, of span.Span, groupBy string, known *names) func(*acts) (func(*act, uint16, *deed) bool, error) {
	to := of.To.UnixMicro()
	return func(a *acts) (func(*act, uint16, *deed) bool, error) {
		masks, labels := a.masks(steps...), make([]hash, len(a.kinds))
		if groupBy != "" {
			var err error
			if labels, err = a.labels(groupBy, known, func(kind int) bool { return masks[kind]&1 != 0 }); err != nil {
				return nil, err
			}
		}
		return func(one *act, tags uint16, d *deed) bool {
			*d = deed{moment: moment{time: a.time(one)}, who: one.actor, steps: masks[one.kind] | tags, label: labels[one.kind]}
			if d.time >= to {
				d.steps &^= 1
			}
			return d.steps != 0
		}, nil
	}
}

// mask is an int2 with a bit for each condition that holds.
func mask(conditions ...string) string {
	terms := make([]string, len(conditions))
	for i, c := range conditions {
		terms[i] = "CASE WHEN " + c + " THEN " + strconv.Itoa(1<<i) + " ELSE 0 END"
	}
	return "(" + strings.Join(terms, " | ") + ")::int2"
}

// deed is an event of a user, or of a session.
type deed struct {
	moment
	who   hash
	steps uint16 // a bit for each step that it is of
	label hash
}

func decodeDeed(name func([]byte) (hash, error)) func(*deed, [][]byte) error {
	return func(d *deed, raw [][]byte) (err error) {
		d.who, d.time, d.steps = hashOf(raw[0]), micros(raw[1]), binary.BigEndian.Uint16(raw[3])
		copy(d.id[:], raw[2])
		d.label, err = name(raw[4])
		return err
	}
}
