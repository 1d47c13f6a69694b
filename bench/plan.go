package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
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
	flags.Var(&o.compression, "compress-after", "`age` at which events, and counts by minute and hour, are compressed, on TimescaleDB's Community edition")
	flags.DurationVar(&o.outage, "outage", time.Hour, "how long PostgreSQL may be away without an event being refused, once the settings that the plan names are made")
	flags.Float64Var(&o.use, "use", 0.7, "how much of a core, or of a consumer's rate, to plan with: the rest is for peaks and for catching up")
	flags.Var(&o.results, "results", "`file` that a sweep, capacity, drain or collect wrote with -json; may be repeated")
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

// addition adds a figure of the plan, with its formula.
type addition func(name string, unit report.Unit, value float64, formula string, args ...any)

// compute adds the figures of the plan.
func (o planOptions) compute(out *report.Report, measured []*report.Report) error {
	rate := float64(o.rate)
	perConsumer, limit := consumerRate(measured)
	if perConsumer == 0 {
		return errors.New("the results do not say how much one consumer writes: give those of drain, sweep or capacity")
	}
	if !limit {
		out.Note("In no run a consumer had all that it could write: it may write more than was offered to it, and fewer will do. Results of drain or capacity tell.")
	}
	var add addition = func(name string, unit report.Unit, value float64, formula string, args ...any) {
		out.Add(name, unit, report.Neither, value)
		out.Explain(name, fmt.Sprintf(formula, args...))
	}
	consumers := math.Ceil(rate / (perConsumer * o.use))
	add("consumers", report.Number, consumers, "%s / (%s that one wrote, measured × %g), rounded up", report.EventsPerSecond.Format(rate), report.EventsPerSecond.Format(perConsumer), o.use)

	if err := o.cores(out, measured, add); err != nil {
		return err
	}
	o.outageSettings(out, measured, add)
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
			if small, ok := figure(measured, "compressed_rollup_bytes_per_"+g.name); ok {
				fresh := min(n, math.Ceil(o.compression.seconds()/g.unit.Seconds()))
				add("rollup_"+g.name+"s_disk_compressed_bytes", report.Bytes, fresh*size+(n-fresh)*small, "%.0f × %s for %s, then %s each, measured", fresh, report.Bytes.Format(size), &o.compression, report.Bytes.Format(small))
			}
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

// cores adds what each process needs of CPU, and what follows.
func (o planOptions) cores(out *report.Report, measured []*report.Report, add addition) error {
	rate := float64(o.rate)
	steps, err := steady(measured)
	if err != nil {
		return err
	}
	total := 0.
	var unknown []string
	for _, process := range []string{rig.Generator, rig.Redis, rig.Consumer, rig.Postgres, rig.API} {
		m, ok := fit(steps, process)
		name := process
		if process == rig.Generator {
			name = rig.Ingestion // that is where the load came in
			if collected, found := figure(measured, "batched_events_ingestion_cpu_us_per_event"); found {
				m, ok = model{perEvent: collected / 1e6, source: "measured by collect, in batches over HTTP"}, true
			} else if ok {
				out.Note("ingestion_cores is of the generator, which makes events up within ingestion and publishes them: neither HTTP nor the check of their JSON is in it. Events that come over HTTP take more: collect measures it, give its results too.")
			}
		}
		if !ok {
			unknown = append(unknown, name)
			continue
		}
		add(name+"_cores", report.Cores, m.at(rate), "%.2f + %s × %.2f µs, %s", m.base, report.EventsPerSecond.Format(rate), m.perEvent*1e6, m.source)
		total += m.at(rate)
		if process == rig.Redis {
			partitions := max(math.Ceil(m.at(rate)/o.use), 1)
			add("partitions", report.Number, partitions, "%.2f cores of Redis, which uses one for commands / %g, rounded up; more than one needs Redis Cluster", m.at(rate), o.use)
		}
	}
	if single, ok := figure(measured, "single_requests_ingestion_cpu_us_per_request"); ok {
		out.Note("ingestion_cores is for events in batches: one that comes alone takes %s of ingestion's CPU.", report.Seconds.Format(single/1e6))
	}
	if unknown != nil {
		out.Note("cores_to_provide is left out, and partitions without Redis' CPU: the results do not tell how much CPU %s took. Those of a sweep or a capacity tell, on servers that the benchmark starts and sees.", strings.Join(unknown, ", "))
		return nil
	}
	add("cores_to_provide", report.Number, math.Ceil(total/o.use), "the sum of the above, %.2f / %g, rounded up", total, o.use)
	return nil
}

// resuming is how long the first events of an outage may wait beyond it: until a
// transaction is given up, and what a dead consumer held is taken over: FLUSH_TIMEOUT and
// CLAIM_MIN_IDLE, by default 80 s together.
const resuming = 2 * time.Minute

// outageSettings adds what lets ingestion accept all events of an outage: it refuses them
// by their number, by the age of the oldest, and by the memory that Redis uses.
func (o planOptions) outageSettings(out *report.Report, measured []*report.Report, add addition) {
	if o.outage == 0 {
		return
	}
	rate, lasting := float64(o.rate), o.outage+resuming
	high := math.Ceil(rate * lasting.Seconds())
	add("events_of_an_outage", report.Number, rate*o.outage.Seconds(), "%s × %v", report.EventsPerSecond.Format(rate), o.outage)
	add("backpressure_high_events", report.Number, high, "%s × (%v + %v until all consumers write again); set BACKPRESSURE_HIGH_EVENTS to no less than %.0f", report.EventsPerSecond.Format(rate), o.outage, resuming, high)
	add("backpressure_high_age_seconds", report.Seconds, lasting.Seconds(), "%v + %v until all consumers write again; set BACKPRESSURE_HIGH_AGE to no less than %v", o.outage, resuming, lasting)
	size, ok := figure(measured, "redis_bytes_per_event")
	if !ok {
		out.Note("What an event takes in Redis was not measured: results of a sweep or a capacity tell. Without, BACKPRESSURE_MAX_MEMORY and Redis' maxmemory for the outage are not known, and ingestion refuses events by its memory too.")
		return
	}
	memory := math.Ceil(high * size / 0.9)
	most := math.Ceil(memory / 0.9)
	add("backpressure_max_memory_bytes", report.Bytes, memory, "%.0f events × %s, measured / 0.9, as Redis holds other things too; set BACKPRESSURE_MAX_MEMORY to no less than %.0f, on a cluster for each node by its share of the streams", high, report.Bytes.Format(size), memory)
	add("redis_memory_bytes", report.Bytes, most, "%s / 0.9, as ingestion leaves a tenth of maxmemory free; set Redis' maxmemory to no less than %.0f, likewise", report.Bytes.Format(memory), most)
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
			take(written, grew(&r.Steps[i]))
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

// steady returns the steps that the system kept up with: the others do not tell what an
// event costs, as some did not get to every process, and CPU may have been all used.
func steady(measured []*report.Report) (steps []*report.Step, err error) {
	all := 0
	for _, r := range measured {
		for i := range r.Steps {
			s := &r.Steps[i]
			if _, ok := s.Figure(rig.Consumer + "_cpu_cores"); !ok || s.Value("achieved_events_per_second") == 0 {
				continue
			}
			all++
			if !saturated(s) {
				steps = append(steps, s)
			}
		}
	}
	if all > 0 && len(steps) == 0 {
		return nil, fmt.Errorf("in each of the %d steps of the results more was offered than was written, so they do not tell what an event costs: measure with a sweep some rates that go on, the highest at least twice the lowest", all)
	}
	return steps, nil
}

// saturated tells whether more was offered in a step than could be written.
func saturated(s *report.Step) bool {
	written, ok := s.Figure("written_events_per_second")
	return s.Value("refused_events") > 0 || s.Value("probes_refused") > 0 || grew(s) ||
		ok && written.Median < 0.95*s.Value("achieved_events_per_second")-stepWavers(s)
}

// grew tells whether the backlog did, in a step.
func grew(s *report.Step) bool {
	written := cmp.Or(s.Value("written_events_per_second"), s.Value("achieved_events_per_second"))
	return s.Value("backlog_slope_events_per_second") > 0.1*written+stepWavers(s)
}

// stepWavers is 0 for a step of a report that does not have its duration.
func stepWavers(s *report.Step) float64 {
	seconds := s.Value("duration_seconds")
	if seconds == 0 {
		return 0
	}
	return wavers(s.Value("achieved_events_per_second"), s.Value("batch_events"), seconds)
}

// fit makes a model of what a process used at several rates: the line that fits best. An
// event costs less in large batches; so a plan for a higher rate errs on the safe side.
// Through rates that are near each other any line fits as well: there it is the mean of
// what an event cost, as if nothing were used without events.
func fit(steps []*report.Step, process string) (model, bool) {
	var rates, cores []float64
	perEvent := 0.
	for _, s := range steps {
		if used := s.Value(process + "_cpu_cores"); used > 0 {
			rate := s.Value("achieved_events_per_second")
			rates, cores, perEvent = append(rates, rate), append(cores, used), perEvent+used/rate
		}
	}
	if len(rates) == 0 {
		return model{}, false
	}
	perEvent /= float64(len(rates))
	lowest, highest := slices.Min(rates), slices.Max(rates)
	switch {
	case len(rates) == 1:
		return model{perEvent: perEvent, source: "measured at " + report.EventsPerSecond.Format(lowest)}, true
	case highest < 2*lowest:
		return model{perEvent: perEvent, source: fmt.Sprintf("the mean of what was measured at %d rates, too near each other for a line", len(rates))}, true
	}
	m := model{perEvent: max(0, rig.Slope(rates, cores)), source: fmt.Sprintf("the line through what was measured at %d rates", len(rates))}
	for i := range rates {
		m.base += (cores[i] - m.perEvent*rates[i]) / float64(len(rates))
	}
	m.base = max(0, m.base)
	return m, true
}
