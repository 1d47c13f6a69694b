package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	"weir/openapi/client/api"
)

type queryOptions struct {
	system
	events, asks, days int
	rate               rate
	rest               time.Duration
}

func (o *queryOptions) register(flags *flag.FlagSet) {
	o.system.register(flags)
	o.rate = 2000
	flags.IntVar(&o.events, "events", 5_000_000, "events to load first, by the pipeline itself")
	flags.IntVar(&o.days, "days", 30, "days over which they are spread, the last is today")
	flags.IntVar(&o.asks, "asks", 30, "how often each question is asked")
	flags.Var(&o.rate, "rate", "`rate` at which events flow while questions are asked")
	flags.DurationVar(&o.rest, "rest", 15*time.Second, "time from the end of the flow until the newest events are asked for again")
}

// query loads events and then asks the api each of its questions, one after the other,
// while more events flow.
func query(ctx context.Context, flags *flag.FlagSet, o queryOptions, out io.Writer) error {
	if o.events < 1 || o.days < 1 || o.asks < 1 || o.rest < 0 {
		return wrongUsage("-events, -days and -asks must be at least 1, -rest at least 0")
	}
	return o.conduct(ctx, flags, rig.Options{Settings: []string{"API_STATEMENT_TIMEOUT=60s"}}, out, func(ctx context.Context, x *experiment, r *rig.Rig) error {
		if err := x.load(ctx, r, o.events, o.days); err != nil {
			return fmt.Errorf("load events: %w", err)
		}
		if _, err := r.Begin(ctx, rig.Load{Rate: float64(o.rate), Hold: true}); err != nil {
			return err
		}
		from := r.Sample(ctx)
		err := x.ask(ctx, r, o)
		s, errEnd := r.End(context.WithoutCancel(ctx))
		to := r.Sample(ctx)
		r.Resources(x.Step("while asking"), from, to, s.Published)
		if err := errors.Join(err, errEnd); err != nil {
			return err
		}
		if err := x.askAtRest(ctx, r, o); err != nil {
			return err
		}
		return x.verify(ctx, r)
	})
}

// load puts events of the past into the stream, and returns when they are written.
func (x *experiment) load(ctx context.Context, r *rig.Rig, events, days int) error {
	begin := time.Now()
	err := r.Fill(ctx, int64(events), days, func(done int64) {
		x.status("loading: %s of %s events", report.Number.Format(float64(done)), report.Number.Format(float64(events)))
	})
	if err == nil {
		err = r.Drain(ctx)
	}
	if err != nil {
		return err
	}
	x.Add("load_events_per_second", report.EventsPerSecond, report.More, float64(events)/time.Since(begin).Seconds())
	x.say("loaded %s events in %s", report.Number.Format(float64(events)), report.Seconds.Format(time.Since(begin).Seconds()))
	x.status("loaded; their counts are being folded")
	if err := r.Fold(ctx); err != nil {
		return err
	}
	// The planner of a new table knows nothing, and the logs of deltas are all empty pages,
	// which every question reads; autovacuum would see to both within minutes.
	for _, sql := range []string{`ANALYZE events`, `VACUUM rollup_deltas`, `VACUUM rollup_user_deltas`} {
		if _, err := r.Pool.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// question is one request of the api.
type question struct {
	name, path string
	query      url.Values
	after      int // how many pages come before the one that is asked for
}

// questions are asked over all that was loaded, by rollups, and over a day where rows
// have to be read. But for the funnel by a property the api may answer those about what users
// do from the events that it remembers.
func questions(days int) []question {
	now := time.Now().UTC().Truncate(time.Minute)
	from := now.AddDate(0, 0, -days)
	stamp := func(t time.Time) string { return t.Format(time.RFC3339) }
	all := func(more ...string) url.Values {
		v := url.Values{"from": {stamp(from)}, "to": {stamp(now)}}
		for i := 0; i+1 < len(more); i += 2 {
			v.Add(more[i], more[i+1])
		}
		return v
	}
	day := func(more ...string) url.Values {
		v := all(more...)
		v.Set("from", stamp(now.AddDate(0, 0, -1)))
		return v
	}
	funnel := func(second string, more ...string) url.Values {
		return day(append(more, "step", `type is "page_view"`, "step", second, "step", `type is "purchase"`, "window", "1h")...)
	}
	oldest := func() url.Values { return url.Values{"to": {stamp(now.AddDate(0, 0, 1-days))}, "limit": {"100"}} }
	// The range before it has data too.
	half := all("compare", "previous")
	half.Set("from", stamp(from.Add(now.Sub(from)/2)))
	return []question{
		{name: "summary", path: "/v1/metrics/summary", query: all()},
		{name: "summary of one type", path: "/v1/metrics/summary", query: all("type", "purchase")},
		{name: "summary of half the range, compared", path: "/v1/metrics/summary", query: half},
		{name: "timeseries by hour", path: "/v1/metrics/timeseries", query: all("interval", "hour")},
		{name: "timeseries by day", path: "/v1/metrics/timeseries", query: all("interval", "day")},
		{name: "timeseries by day and country", path: "/v1/metrics/timeseries", query: all("interval", "day", "group_by", "country")},
		{name: "timeseries of users by day", path: "/v1/metrics/timeseries", query: all("interval", "day", "metrics", "users")},
		{name: "timeseries by minute, one day", path: "/v1/metrics/timeseries", query: day("interval", "minute")},
		{name: "top paths", path: "/v1/metrics/top", query: all("by", "path")},
		{name: "top countries", path: "/v1/metrics/top", query: all("by", "country")},
		{name: "top countries, users", path: "/v1/metrics/top", query: all("by", "country", "metrics", "users")},
		{name: "top paths with a filter, one day", path: "/v1/metrics/top", query: day("by", "path", "filter", `country is "DE"`)},
		{name: "breakdown by type and country, one day", path: "/v1/metrics/breakdown", query: day("rows", "country", "columns", "type")},
		{name: "users", path: "/v1/metrics/users", query: all()},
		{name: "summary with a filter, one day", path: "/v1/metrics/summary", query: day("filter", `country is "DE" and path contains "/product"`)},
		{name: "funnel, one day", path: "/v1/funnel", query: funnel(`type is "add_to_cart"`)},
		{name: "funnel with a step by country, one day", path: "/v1/funnel", query: funnel(`type is "add_to_cart" and country is "DE"`)},
		{name: "funnel with a step by a property, one day", path: "/v1/funnel", query: funnel(`type is "add_to_cart" and properties.template exists`)},
		{name: "funnel by device, one day", path: "/v1/funnel", query: funnel(`type is "add_to_cart"`, "group_by", "device")},
		{name: "sessions, one day", path: "/v1/sessions", query: day()},
		{name: "retention", path: "/v1/retention", query: all()},
		{name: "paths, one day", path: "/v1/paths", query: day("start", `type is "page_view"`)},
		{name: "newest events", path: "/v1/events", query: url.Values{"limit": {"100"}}},
		{name: "newest purchases", path: "/v1/events", query: url.Values{"type": {"purchase"}, "limit": {"100"}}},
		{name: "newest events with a property", path: "/v1/events", query: url.Values{"filter": {`properties.template is "listing"`}, "limit": {"100"}}},
		{name: "events of the oldest day", path: "/v1/events", query: oldest()},
		{name: "events of the oldest day, second page", path: "/v1/events", query: oldest(), after: 1},
		{name: "events, page at depth", path: "/v1/events", query: url.Values{"limit": {"500"}}, after: 20},
	}
}

// ask asks each question some times, one after the other as one person does. The times
// are of the service, not of waiting in line.
func (x *experiment) ask(ctx context.Context, r *rig.Rig, o queryOptions) error {
	base := r.Program(rig.API).URL
	for _, q := range questions(o.days) {
		if err := q.page(ctx, base); err != nil {
			return fmt.Errorf("%s: come to the page: %w", q.name, err)
		}
		if q.after > 0 && !q.query.Has("cursor") {
			x.Note("%s was not measured: all events are on one page", q.name)
			continue
		}
		if err := x.askOne(ctx, q.name, o.asks, q.address(base)); err != nil {
			return err
		}
	}
	return nil
}

// askAtRest asks for the newest events, which are before the part of their minute that is empty.
func (x *experiment) askAtRest(ctx context.Context, r *rig.Rig, o queryOptions) error {
	x.status("nothing flows for %s", report.Seconds.Format(o.rest.Seconds()))
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(o.rest):
	}
	for _, q := range questions(o.days) {
		if q.path == "/v1/events" && q.after == 0 && !q.query.Has("to") {
			if err := x.askOne(ctx, q.name+atRest, o.asks, q.address(r.Program(rig.API).URL)); err != nil {
				return err
			}
		}
	}
	return nil
}

const atRest = ", at rest"

func (q question) address(base string) string { return base + q.path + "?" + q.query.Encode() }

// page goes on by the cursors of the pages that come before, or of those that there are.
func (q question) page(ctx context.Context, base string) error {
	for range q.after {
		text, err := get(ctx, q.address(base))
		if err != nil {
			return err
		}
		var page api.EventPage
		if err := json.Unmarshal(text, &page); err != nil || page.NextCursor == nil {
			return err
		}
		q.query.Set("cursor", *page.NextCursor)
	}
	return nil
}

// enough is how long one question is asked again and again.
const enough = time.Minute

// askOne asks once more than times, but not for much longer than enough: the first answer
// is told apart, as the api remembers rollups that it read.
func (x *experiment) askOne(ctx context.Context, name string, times int, address string) error {
	latency, first, size := rig.NewLatency(), time.Duration(0), 0
	start := time.Now()
	for i := range times + 1 {
		if i > 1 && time.Since(start) > enough {
			x.Note("%s was asked %d times, which took %s", name, i, report.Seconds.Format(time.Since(start).Seconds()))
			break
		}
		x.status("asking: %s, %d of %d", name, i, times)
		begin := time.Now()
		answer, err := get(ctx, address)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, errUnanswered) {
			x.Note("%s was not measured: %v", name, err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if size = len(answer); i == 0 {
			first = time.Since(begin)
		} else {
			latency.Record(time.Since(begin))
		}
	}
	step := x.Step(name)
	step.Add("answer_first_seconds", report.Seconds, report.Less, first.Seconds())
	for _, p := range []struct {
		name string
		at   float64
	}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"max", 100}} {
		step.Add("answer_"+p.name+"_seconds", report.Seconds, report.Less, latency.At(p.at))
	}
	step.Add("answer_bytes", report.Bytes, report.Neither, float64(size))
	x.say("%s: first %s, p50 %s, p99 %s", name, report.Seconds.Format(first.Seconds()), report.Seconds.Format(latency.At(50)), report.Seconds.Format(latency.At(99)))
	return nil
}

// errUnanswered is an answer with a status from 400 to 499, as an older or a newer api has
// other questions, or with 504: the question takes longer than one may take. Neither is a
// reason not to ask the others.
var errUnanswered = errors.New("not answered")

// get is no generated client's, which would read the answer too.
func get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
		if response.StatusCode < 500 || response.StatusCode == http.StatusGatewayTimeout {
			err = fmt.Errorf("%w: %w", errUnanswered, err)
		}
	}
	return text, err
}
