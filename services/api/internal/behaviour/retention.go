package behaviour

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
)

type retentionInput struct {
	From   time.Time `query:"from" doc:"Start (RFC 3339); the period that it lies in is counted from its beginning. In the years 1970 to 2999. Default: 7 days, 7 weeks or 6 months before the end" example:"2026-01-01T00:00:00Z"`
	To     time.Time `query:"to" doc:"End, exclusive (RFC 3339); rounded up to the minute. In the years 1970 to 2999. Default: now" example:"2026-01-08T00:00:00Z"`
	Period string    `query:"period" enum:"day,week,month" default:"day" doc:"Length of a period. Weeks begin on Monday"`
	Zone   string    `query:"timezone" default:"UTC" maxLength:"64" doc:"Where days, weeks and months begin: a name of the IANA database" example:"Europe/Berlin"`
	Start  string    `query:"start" maxLength:"4096" doc:"A filter: a user joins the cohort of the period of their first event that it takes. Default: any event" example:"type is \"signup\""`
	Return string    `query:"return" maxLength:"4096" doc:"A filter: a user has come back in a period with an event that it takes. Default: any event" example:"type is \"purchase\""`
	span.Known
	filter.Input
}

// Retention is the answer of /v1/retention.
type Retention struct {
	Meta    RetentionMeta `json:"meta"`
	Cohorts []Cohort      `json:"cohorts" nullable:"false" doc:"One for each period of the range, those without users included"`
}

// RetentionMeta says what the answer is about.
type RetentionMeta struct {
	span.Meta
	Period string `json:"period" example:"week"`
	Zone   string `json:"timezone" example:"Europe/Berlin"`
}

// Cohort are the users whose first event that start takes, in the range, is of one
// period.
type Cohort struct {
	Period   time.Time `json:"period" doc:"Beginning of the period" example:"2026-01-05T00:00:00+01:00"`
	Users    int64     `json:"users" example:"412"`
	Returned []int64   `json:"returned" nullable:"false" doc:"How many of them came back in the first period after it, the second, and so on to the end of the range; the last may not be over" example:"[120,80]"`
	Share    []float64 `json:"share" nullable:"false" doc:"The same as shares of the users; 0 without users" example:"[0.29,0.19]"`
}

func registerRetention(api huma.API, q *questions) {
	huma.Register(api, huma.Operation{
		OperationID: "get-retention", Method: http.MethodGet, Path: "/v1/retention", Tags: []string{"Behaviour"},
		Summary: "How many users come back, by the period of their first event",
		Description: "A user is a user_id, else an anonymous_id, and is in one cohort: that of the first event in the range that start takes. " +
			"They count as returned in each later period with an event that return takes. Events before the range are not looked at: " +
			"a user who did the same before it counts as new. With the filter, both are narrowed. " +
			"Answered from the raw events, over at most 31 days, 26 weeks or 12 months, and two million users. " + turns,
		Security: access.Required(), Errors: query.Errors, Responses: span.NotModified(),
	}, func(ctx context.Context, in *retentionInput) (*span.Output[Retention], error) {
		periods, err := in.periods(time.Now())
		if err != nil {
			return nil, err
		}
		start, returns, where, err := in.filters()
		if err != nil {
			return nil, err
		}
		done, err := q.turn(ctx)
		if err != nil {
			return nil, err
		}
		defer done()
		s := span.Span{From: periods[0], To: periods[len(periods)-1]}
		r := reading[mark]{from: s.From, to: s.To, first: s.From, where: where, order: each[mark], decoder: func() func(*mark, [][]byte) error { return decodeMark }}
		r.scan.mark(where, start, returns)
		r.recall = recallMarks(start, returns)
		r.tell(start, returns)
		c := newCohorts(periods)
		asOf, err := run(ctx, q, r, c.add)
		if err != nil {
			return nil, err
		}
		body := Retention{Cohorts: c.triangle()}
		body.Meta = RetentionMeta{span.Meta{From: s.From.UTC(), To: s.To.UTC(), ServedBy: span.Raw, AsOf: asOf}, in.Period, in.Zone}
		return span.Answer(in.Known, r.to, body.Meta.AsOf, &body)
	})
}

func (in *retentionInput) filters() (start, returns, where filter.Expr, err error) {
	if start, err = filter.Parse(in.Start); err != nil {
		return start, returns, where, query.Invalid("start", err.Error(), in.Start)
	}
	if returns, err = filter.Parse(in.Return); err != nil {
		return start, returns, where, query.Invalid("return", err.Error(), in.Return)
	}
	where, err = in.Expr()
	return start, returns, where, err
}

// lookback is how much is shown without from.
var lookback = map[string]func(time.Time) time.Time{
	"day":   func(t time.Time) time.Time { return t.AddDate(0, 0, -7) },
	"week":  func(t time.Time) time.Time { return t.AddDate(0, 0, -7*7) },
	"month": func(t time.Time) time.Time { return t.AddDate(0, -6, 0) },
}

// maxPeriods bounds a range, by the length of a period.
var maxPeriods = map[string]int{"day": 31, "week": 26, "month": 12}

// periods are the beginnings of the periods of the range, and its end.
func (in *retentionInput) periods(now time.Time) ([]time.Time, error) {
	zone, err := span.Zone(in.Zone)
	if err != nil {
		return nil, err
	}
	between := span.Between{From: in.From, To: in.To}
	if in.From.IsZero() {
		end := in.To
		if end.IsZero() {
			end = now
		}
		between.From = lookback[in.Period](end)
	}
	s, err := between.Span(now)
	if err != nil {
		return nil, err
	}
	var list []time.Time
	if s.Length() <= 366*24*time.Hour { // not longer than twelve months
		if list, err = span.Interval(in.Period).Buckets(s, zone); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 || len(list) > maxPeriods[in.Period] {
		return nil, query.Invalid("from", fmt.Sprintf("gives more than %d periods before to, the most for period=%s: ask for a shorter range or longer periods",
			maxPeriods[in.Period], in.Period), s.From.Format(time.RFC3339))
	}
	return append(list, s.To), nil
}

// mark asks for the events of either filter, with a bit for each.
func (s *scan) mark(where, start, returns filter.Expr) {
	joins, comes := start.SQL(s.arg), returns.SQL(s.arg)
	s.columns = actor + ", time, " + mask(joins, comes)
	s.condition = where.SQL(s.arg) + " AND (" + joins + " OR " + comes + ")"
}

// recallMarks does with what is remembered as mark does with the table.
func recallMarks(start, returns filter.Expr) func(*acts) (func(*act, uint16, *mark) bool, error) {
	return func(a *acts) (func(*act, uint16, *mark) bool, error) {
		masks := a.masks(start, returns)
		return func(one *act, tags uint16, m *mark) bool {
			bits := masks[one.kind] | tags
			*m = mark{who: one.actor, time: a.time(one), joins: bits&1 != 0, returns: bits&2 != 0}
			return bits != 0
		}, nil
	}
}

// mark is an event that makes a user join or come back.
type mark struct {
	who     hash
	time    int64 // microseconds
	joins   bool
	returns bool
}

func decodeMark(m *mark, raw [][]byte) error {
	bits := binary.BigEndian.Uint16(raw[2])
	m.who, m.time, m.joins, m.returns = hashOf(raw[0]), micros(raw[1]), bits&1 != 0, bits&2 != 0
	return nil
}

// cohorts gathers when each user joined and came back, from events in any order.
type cohorts struct {
	periods []time.Time
	starts  []int64 // of the periods, and the end; microseconds
	users   *subjects[loyalty]
}

// loyalty has a bit for each period.
type loyalty struct{ joined, returned uint32 }

func newCohorts(periods []time.Time) *cohorts {
	c := &cohorts{periods: periods, users: newSubjects[loyalty]("users")}
	for _, t := range periods {
		c.starts = append(c.starts, t.UnixMicro())
	}
	return c
}

func (c *cohorts) add(marks iter.Seq[*mark]) (err error) {
	at := 0
	for m := range marks {
		// Events come by and large in the order of time.
		for m.time < c.starts[at] {
			at--
		}
		for m.time >= c.starts[at+1] {
			at++
		}
		l := c.users.find(m.who)
		if l == nil {
			if l, err = c.users.add(m.who); err != nil {
				return err
			}
		}
		if m.joins {
			l.joined |= 1 << at
		}
		if m.returns {
			l.returned |= 1 << at
		}
	}
	return nil
}

// triangle counts them.
func (c *cohorts) triangle() []Cohort {
	n := len(c.periods) - 1
	list := make([]Cohort, n)
	for i := range list {
		list[i] = Cohort{Period: c.periods[i], Returned: make([]int64, n-1-i), Share: make([]float64, n-1-i)}
	}
	for l := range c.users.all() {
		for i := range list {
			if l.joined&(1<<i) == 0 {
				continue
			}
			list[i].Users++
			for k := range list[i].Returned {
				list[i].Returned[k] += int64(l.returned >> (i + 1 + k) & 1)
			}
			break // the first period is the cohort's
		}
	}
	for i := range list {
		for k, r := range list[i].Returned {
			list[i].Share[k] = share(r, list[i].Users)
		}
	}
	return list
}
