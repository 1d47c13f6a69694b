package behaviour

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
)

// margin is how far before and after the range a session is looked for: those that
// began before it do not belong to it, and those that begin in it may end after it.
const margin = time.Hour

// maxDays bounds the range of a question that reads every event of it.
const maxDays = 31

type sessionsInput struct {
	span.Between
	span.Known
	filter.Input
	Limit int `query:"limit" minimum:"1" maximum:"50" default:"10" doc:"How many entry and exit pages are listed"`
}

// Sessions is the answer of /v1/sessions.
type Sessions struct {
	Meta             span.Meta   `json:"meta"`
	Sessions         int64       `json:"sessions" doc:"Sessions that began in the range" example:"1200"`
	Events           int64       `json:"events" doc:"Their events" example:"5100"`
	EventsPerSession float64     `json:"events_per_session" doc:"Mean; 0 without sessions" example:"4.25"`
	Length           Length      `json:"length"`
	Bounces          int64       `json:"bounces" doc:"Sessions with one page view, or with one event and no page view" example:"300"`
	BounceRate       float64     `json:"bounce_rate" doc:"Share of the sessions that bounced; 0 without sessions" example:"0.25"`
	EntryPages       []PageCount `json:"entry_pages" nullable:"false" doc:"Paths of the sessions' first page views, most frequent first"`
	EntryOther       int64       `json:"entry_other" doc:"Sessions that began on any other page, or viewed none" example:"40"`
	ExitPages        []PageCount `json:"exit_pages" nullable:"false" doc:"Paths of the sessions' last page views, most frequent first"`
	ExitOther        int64       `json:"exit_other" doc:"Sessions that ended on any other page, or viewed none" example:"40"`
}

// Length is how long sessions last, from the first event to the last.
type Length struct {
	Mean   float64 `json:"mean_seconds" example:"95.2" doc:"0 without sessions"`
	Median float64 `json:"median_seconds" example:"41.5"`
	P90    float64 `json:"p90_seconds" example:"260.1" doc:"Nine of ten sessions are no longer; interpolated, as percentile_cont is in SQL"`
}

// PageCount is how many sessions have a page in common.
type PageCount struct {
	Path     string `json:"path" example:"/pricing"`
	Sessions int64  `json:"sessions" example:"120"`
}

func registerSessions(api huma.API, q *questions) {
	huma.Register(api, huma.Operation{
		OperationID: "get-sessions", Method: http.MethodGet, Path: "/v1/sessions", Tags: []string{"Behaviour"},
		Summary: "How long people stay, and where they come in and leave",
		Description: "A session is the events that have a session_id in common. It belongs to the range by its first event, and is " +
			"counted whole: the hour before the range is read to leave out the sessions that began there, and the hour after it " +
			"for what is done then in sessions that began in the range; what is further away than that is not looked at. " +
			"A filter leaves sessions of the events that it takes, so filter by what a whole session shares, such as country or source. " +
			"Answered from the raw events, over at most 31 days and two million sessions. " + turns,
		Security: access.Required(), Errors: query.Errors, Responses: span.NotModified(),
	}, func(ctx context.Context, in *sessionsInput) (*span.Output[Sessions], error) {
		s, where, err := about(in.Between, in.Input)
		if err != nil {
			return nil, err
		}
		done, err := q.turn(ctx)
		if err != nil {
			return nil, err
		}
		defer done()
		var known names
		visits := newVisits(&known)
		r := reading[visit]{from: s.From.Add(-margin), to: s.To.Add(margin), first: s.From, where: where, order: each[visit], recall: recallVisits(&known)}
		r.scan.columns = "session_id, time, CASE WHEN type = 'page_view' THEN coalesce(path, '') END"
		r.scan.condition = "session_id IS NOT NULL AND " + where.SQL(r.scan.arg)
		r.decoder = func() func(*visit, [][]byte) error {
			name := known.reader()
			return func(v *visit, raw [][]byte) (err error) {
				v.session, v.time, v.view = hashOf(raw[0]), micros(raw[1]), raw[2] != nil
				if len(raw[2]) > 0 {
					v.page, err = name(raw[2])
				}
				return err
			}
		}
		asOf, err := run(ctx, q, r, visits.add)
		if err != nil {
			return nil, err
		}
		body := visits.summarise(s.From.UnixMicro(), s.To.UnixMicro(), in.Limit)
		body.Meta = span.Meta{From: s.From, To: s.To, ServedBy: span.Raw, AsOf: asOf}
		return span.Answer(in.Known, r.to, body.Meta.AsOf, &body)
	})
}

// recallVisits makes of what is remembered what the table would tell.
func recallVisits(known *names) func(*acts) (func(*act, uint16, *visit) bool, error) {
	return func(a *acts) (func(*act, uint16, *visit) bool, error) {
		type page struct {
			hash
			view bool
		}
		pages := make([]page, len(a.whats))
		for i := range a.whats {
			w := &a.whats[i]
			if w.typ != "page_view" {
				continue
			}
			pages[i].view = true
			if w.path == "" {
				continue
			}
			pages[i].hash = w.pathHash
			if err := known.add(w.pathHash, w.path); err != nil {
				return nil, err
			}
		}
		return func(one *act, _ uint16, v *visit) bool {
			p := &pages[a.kinds[one.kind].what]
			*v = visit{session: one.session, time: a.time(one), page: p.hash, view: p.view}
			return v.session != 0
		}, nil
	}
}

// visit is an event of a session.
type visit struct {
	session hash
	time    int64 // microseconds
	page    hash  // 0 when it has no path
	view    bool
}

// stay is a session. Its pages are those of its first and last page view; of several
// in the same microsecond, the one whose path sorts first.
type stay struct {
	first, last   int64
	entered, left int64
	entry, exit   hash
	events, views uint32
}

// visits puts sessions together from their events, in any order.
type visits struct {
	names *names
	stays *subjects[stay]
}

func newVisits(names *names) *visits { return &visits{names, newSubjects[stay]("sessions")} }

func (v *visits) add(rows iter.Seq[*visit]) (err error) {
	for r := range rows {
		s := v.stays.find(r.session)
		if s == nil {
			if s, err = v.stays.add(r.session); err != nil {
				return err
			}
			s.first, s.last = r.time, r.time
		}
		s.events++
		s.first, s.last = min(s.first, r.time), max(s.last, r.time)
		if !r.view {
			continue
		}
		s.views++
		if s.views == 1 || r.time < s.entered || r.time == s.entered && v.names.less(r.page, s.entry) {
			s.entered, s.entry = r.time, r.page
		}
		if s.views == 1 || r.time > s.left || r.time == s.left && v.names.less(r.page, s.exit) {
			s.left, s.exit = r.time, r.page
		}
	}
	return nil
}

// summarise counts the sessions that began in [from, to).
func (v *visits) summarise(from, to int64, limit int) (a Sessions) {
	var lengths []int64
	var sum float64
	entries, exits := map[hash]int64{}, map[hash]int64{}
	for s := range v.stays.all() {
		if s.first < from || s.first >= to {
			continue
		}
		a.Sessions++
		a.Events += int64(s.events)
		if s.views == 1 || s.views == 0 && s.events == 1 {
			a.Bounces++
		}
		entries[s.entry]++
		exits[s.exit]++
		lengths = append(lengths, s.last-s.first)
		sum += float64(s.last - s.first)
	}
	a.EntryPages, a.EntryOther = topPages(entries, v.names.text, limit)
	a.ExitPages, a.ExitOther = topPages(exits, v.names.text, limit)
	if a.Sessions == 0 {
		return a
	}
	slices.Sort(lengths)
	n := float64(a.Sessions)
	a.EventsPerSession, a.BounceRate = float64(a.Events)/n, float64(a.Bounces)/n
	a.Length = Length{sum / n / 1e6, quantile(lengths, 0.5) / 1e6, quantile(lengths, 0.9) / 1e6}
	return a
}

func topPages(count map[hash]int64, name map[hash]string, limit int) ([]PageCount, int64) {
	top, other := topOf(count, name, limit)
	list := make([]PageCount, len(top))
	for i, t := range top {
		list[i] = PageCount{t.name, t.count}
	}
	return list, other
}
