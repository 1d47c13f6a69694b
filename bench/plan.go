package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
)

type planOptions struct {
	common
	rate                                   rate
	retention, minutes, hours, compression age
	outage                                 time.Duration
	use                                    float64
	results                                files
}

// age is a duration that may be said in days.
type age time.Duration

func (a *age) String() string {
	if day := age(24 * time.Hour); *a != 0 && *a%day == 0 {
		return strconv.Itoa(int(*a/day)) + "d"
	}
	return time.Duration(*a).String()
}

// Set implements flag.Value.
func (a *age) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || n > 36500 {
			return errors.New("must be an age such as 30d or 12h")
		}
		*a = age(n * 24 * float64(time.Hour))
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return errors.New("must be an age such as 30d or 12h")
	}
	*a = age(d)
	return nil
}

func (a age) seconds() float64 { return time.Duration(a).Seconds() }

// files is a flag that may be repeated.
type files []string

func (f *files) String() string { return strings.Join(*f, ",") }

// Set implements flag.Value.
func (f *files) Set(v string) error {
	*f = append(*f, v)
	return nil
}

func (o *planOptions) register(flags *flag.FlagSet) {
	o.common.register(flags)
	day := age(24 * time.Hour)
	o.retention, o.minutes, o.hours, o.compression = 30*day, 90*day, 400*day, 7*day
	flags.Var(&o.rate, "rate", "`rate` to plan for: that of the busiest time")
	flags.Var(&o.retention, "retention", "`age` up to which events are kept")
	flags.Var(&o.minutes, "retention-minutes", "`age` up to which counts by minute are kept")
	flags.Var(&o.hours, "retention-hours", "`age` up to which counts by hour, and by day, are kept")
	flags.Var(&o.compression, "compress-after", "`age` at which events are compressed, on TimescaleDB's Community edition")
	flags.DurationVar(&o.outage, "outage", time.Hour, "how long PostgreSQL may be away without an event being refused")
	flags.Float64Var(&o.use, "use", 0.7, "how much of a core, or of a consumer's rate, to plan with: the rest is for peaks and for catching up")
	flags.Var(&o.results, "results", "`file` that a sweep, capacity or drain wrote with --json; may be repeated")
}

// plan says what a rate needs, by what was measured at others.
func plan(ctx context.Context, flags *flag.FlagSet, o planOptions, out io.Writer) error {
	if o.rate <= 0 || len(o.results) == 0 || o.use <= 0 || o.use > 1 || o.outage < 0 {
		return wrongUsage("-rate and -results are needed; -use must be above 0 and up to 1: go run ./bench plan -rate 200k -retention 30d -results capacity.json")
	}
	var measured []*report.Report
	for _, file := range o.results {
		r, err := report.Read(file)
		if err != nil {
			return wrongUsage("%w", err)
		}
		if r.Verdict == report.Invalid {
			return wrongUsage("%s is of an INVALID run: nothing can be planned with it", file)
		}
		measured = append(measured, r)
	}
	return conduct(ctx, flags, o.common, out, func(_ context.Context, x *experiment) error {
		x.Verdict = report.Computed
		return o.compute(x.Report, measured)
	})
}

// compute adds the figures of the plan, each with its formula.
func (o planOptions) compute(out *report.Report, measured []*report.Report) error {
	rate := float64(o.rate)
	perConsumer, limit := consumerRate(measured)
	if perConsumer == 0 {
		return errors.New("the results do not say how much one consumer writes: give those of drain, sweep or capacity")
	}
	if !limit {
		out.Note("In no run a consumer had all that it could write: it may write more than was offered to it, and fewer will do. Results of drain or capacity tell.")
	}
	add := func(name string, unit report.Unit, value float64, formula string, args ...any) {
		out.Add(name, unit, report.Neither, value)
		out.Explain(name, fmt.Sprintf(formula, args...))
	}
	consumers := math.Ceil(rate / (perConsumer * o.use))
	add("consumers", report.Number, consumers, "%s / (%s that one wrote, measured × %g), rounded up", report.EventsPerSecond.Format(rate), report.EventsPerSecond.Format(perConsumer), o.use)

	total := 0.
	for _, name := range []string{rig.Generator, rig.Redis, rig.Consumer, rig.Postgres, rig.API} {
		m, ok := fit(measured, name)
		if !ok {
			continue
		}
		title := name + "_cores"
		if name == rig.Generator {
			title = "ingestion_cores" // that is where the load came in
		}
		add(title, report.Cores, m.at(rate), "%.2f + %s × %.2f µs, %s", m.base, report.EventsPerSecond.Format(rate), m.perEvent*1e6, m.source)
		total += m.at(rate)
		if name == rig.Redis {
			partitions := max(math.Ceil(m.at(rate)/o.use), 1)
			add("partitions", report.Number, partitions, "%.2f cores of Redis, which uses one for commands / %g, rounded up; more than one needs Redis Cluster", m.at(rate), o.use)
		}
	}
	if total > 0 {
		add("cores_to_provide", report.Number, math.Ceil(total/o.use), "the sum of the above, %.2f / %g, rounded up", total, o.use)
	}

	if size, ok := figure(measured, "redis_bytes_per_event"); ok {
		waiting := rate * o.outage.Seconds()
		add("events_of_an_outage", report.Number, waiting, "%s × %v; set BACKPRESSURE_HIGH_EVENTS to no less", report.EventsPerSecond.Format(rate), o.outage)
		add("redis_memory_bytes", report.Bytes, waiting*size/0.9, "these × %s, measured / 0.9, as ingestion leaves a tenth of maxmemory free", report.Bytes.Format(size))
	}
	if raw, ok := figure(measured, "raw_bytes_per_event"); ok {
		kept := rate * o.retention.seconds()
		add("raw_disk_bytes", report.Bytes, kept*raw, "%s × %s × %s with its index, measured", report.EventsPerSecond.Format(rate), &o.retention, report.Bytes.Format(raw))
		if small, ok := figure(measured, "compressed_bytes_per_event"); ok {
			fresh := min(o.compression.seconds(), o.retention.seconds())
			add("raw_disk_compressed_bytes", report.Bytes, rate*(fresh*raw+(o.retention.seconds()-fresh)*small), "%s for %s as above, then %s an event, measured", report.EventsPerSecond.Format(rate), &o.compression, report.Bytes.Format(small))
		} else {
			out.Note("Compression was not measured: it needs results from TimescaleDB's Community edition.")
		}
	}
	rollups := 0.
	for _, g := range []struct {
		name string
		kept age
		unit time.Duration
	}{{"minute", o.minutes, time.Minute}, {"hour", o.hours, time.Hour}, {"day", o.hours, 24 * time.Hour}} {
		if size, ok := figure(measured, "rollup_bytes_per_"+g.name); ok {
			n := math.Ceil(g.kept.seconds() / g.unit.Seconds())
			rollups += n * size
			add("rollup_"+g.name+"s_disk_bytes", report.Bytes, n*size, "%s of %ss, %.0f × %s, measured", &g.kept, g.name, n, report.Bytes.Format(size))
		}
	}
	if rollups > 0 {
		out.Note("Rollups grow with the number of different paths, countries and so on, and with users up to %s a set, not with the rate: measure with traffic like yours.", report.Bytes.Format(12<<10))
	}
	for _, r := range measured {
		if limit, ok := r.Figure("sustainable_events_per_second"); ok {
			add("machines_like_the_measured_one", report.Number, math.Ceil(rate/(limit.Median*o.use)), "%s / (%s that it sustained × %g), rounded up", report.EventsPerSecond.Format(rate), report.EventsPerSecond.Format(limit.Median), o.use)
		}
	}
	out.Note("Measured on %d CPUs %s; cores are of that kind.", measured[0].Machine.CPUs, measured[0].Machine.CPU)
	return nil
}

// consumerRate is the most that one consumer is known to write, and whether that was
// what it could: a drain and a capacity find out, a sweep only where a backlog grew.
func consumerRate(measured []*report.Report) (most float64, limit bool) {
	for _, r := range measured {
		consumers := 1.
		if n, err := strconv.ParseFloat(fmt.Sprint(r.Configuration["consumers"]), 64); err == nil && n > 0 {
			consumers = n
		}
		take := func(perSecond float64, could bool) {
			if perSecond/consumers > most {
				most, limit = perSecond/consumers, could
			}
		}
		if f, ok := r.Figure("events_per_second"); ok && r.Command == "drain" {
			take(f.Median, true)
		}
		if f, ok := r.Figure("sustainable_events_per_second"); ok {
			take(f.Median, true)
		}
		for i := range r.Steps {
			written := r.Steps[i].Value("written_events_per_second")
			take(written, r.Steps[i].Value("backlog_slope_events_per_second") > 0.1*written)
		}
	}
	return most, limit
}

// figure is the newest measurement of a figure.
func figure(measured []*report.Report, name string) (v float64, ok bool) {
	for _, r := range measured {
		if f, found := r.Figure(name); found {
			v, ok = f.Median, true
		}
	}
	return v, ok
}

// model says what a process uses at a rate: something, and something an event.
type model struct {
	base, perEvent float64 // cores, and seconds of CPU
	source         string
}

func (m model) at(rate float64) float64 { return m.base + m.perEvent*rate }

// fit makes a model of what was measured at several rates: the line that fits best. An
// event costs less in large batches; so a plan for a higher rate errs on the safe side.
func fit(measured []*report.Report, process string) (model, bool) {
	var rates, cores []float64
	for _, r := range measured {
		for i := range r.Steps {
			used, ok := r.Steps[i].Figure(process + "_cpu_cores")
			achieved := r.Steps[i].Value("achieved_events_per_second")
			if ok && achieved > 0 && used.Median > 0 {
				rates, cores = append(rates, achieved), append(cores, used.Median)
			}
		}
	}
	switch len(rates) {
	case 0:
		return model{}, false
	case 1:
		return model{perEvent: cores[0] / rates[0], source: "measured at " + report.EventsPerSecond.Format(rates[0])}, true
	}
	m := model{perEvent: max(0, rig.Slope(rates, cores)), source: fmt.Sprintf("the line through what was measured at %d rates", len(rates))}
	for i := range rates {
		m.base += (cores[i] - m.perEvent*rates[i]) / float64(len(rates))
	}
	m.base = max(0, m.base)
	return m, true
}
