package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	"weir/openapi/client"
	"weir/openapi/client/api"
)

type queryOptions struct {
	system
	events, asks, days int
	rate               rate
}

func (o *queryOptions) register(flags *flag.FlagSet) {
	o.system.register(flags)
	o.rate = 2000
	flags.IntVar(&o.events, "events", 5_000_000, "events to load first, by the pipeline itself")
	flags.IntVar(&o.days, "days", 30, "days over which they are spread, the last is today")
	flags.IntVar(&o.asks, "asks", 30, "how often each question is asked")
	flags.Var(&o.rate, "rate", "`rate` at which events flow while questions are asked")
}

// query loads events and then asks the api each of its questions, one after the other,
// while more events flow.
func query(ctx context.Context, flags *flag.FlagSet, o queryOptions, out io.Writer) error {
	if o.events < 1 || o.days < 1 || o.asks < 1 {
		return wrongUsage("-events, -days and -asks must be at least 1")
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
}

// questions are asked over all that was loaded, by rollups, and over a day where rows
// have to be read.
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
	return []question{
		{"summary", "/v1/metrics/summary", all()},
		{"summary of one type", "/v1/metrics/summary", all("type", "purchase")},
		{"timeseries by hour", "/v1/metrics/timeseries", all("interval", "hour")},
		{"timeseries by day", "/v1/metrics/timeseries", all("interval", "day")},
		{"timeseries by day and country", "/v1/metrics/timeseries", all("interval", "day", "group_by", "country")},
		{"timeseries by minute, one day", "/v1/metrics/timeseries", day("interval", "minute")},
		{"top paths", "/v1/metrics/top", all("by", "path")},
		{"top countries", "/v1/metrics/top", all("by", "country")},
		{"breakdown by type and country, one day", "/v1/metrics/breakdown", day("rows", "country", "columns", "type")},
		{"users", "/v1/metrics/users", all()},
		{"summary with a filter, one day", "/v1/metrics/summary", day("filter", `country is "DE" and path contains "/product"`)},
		{"funnel, one day", "/v1/funnel", day("step", `type is "page_view"`, "step", `type is "add_to_cart"`, "step", `type is "purchase"`, "window", "1h")},
		{"sessions, one day", "/v1/sessions", day()},
		{"retention", "/v1/retention", all()},
		{"paths, one day", "/v1/paths", day("start", `type is "page_view"`)},
		{"newest events", "/v1/events", url.Values{"limit": {"100"}}},
		{"newest purchases", "/v1/events", url.Values{"type": {"purchase"}, "limit": {"100"}}},
	}
}

// ask asks each question some times, one after the other as one person does. The times
// are of the service, not of waiting in line.
func (x *experiment) ask(ctx context.Context, r *rig.Rig, o queryOptions) error {
	base := r.Program(rig.API).URL
	for _, q := range questions(o.days) {
		address := base + q.path + "?" + q.query.Encode()
		if err := x.askOne(ctx, q.name, o.asks, address); err != nil {
			return err
		}
	}
	// A page at depth: the cursor that 20 pages led to.
	asker, err := api.NewClientWithResponses(base)
	if err != nil {
		return err
	}
	limit := int64(500)
	deep := api.ListEventsParams{Limit: &limit}
	for range 20 {
		page, err := client.Answer(asker.ListEventsWithResponse(ctx, &deep))
		if err != nil {
			return fmt.Errorf("page through the events: %w", err)
		}
		if page.NextCursor == nil {
			break
		}
		deep.Cursor = page.NextCursor
	}
	if deep.Cursor == nil {
		return nil
	}
	last := url.Values{"limit": {"500"}, "cursor": {*deep.Cursor}}
	return x.askOne(ctx, "events, page at depth", o.asks, base+"/v1/events?"+last.Encode())
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
