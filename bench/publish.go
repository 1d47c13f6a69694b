package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"text/tabwriter"
	"time"
)

type publishOptions struct {
	events, runs  int
	paced         time.Duration
	json, profile string
}

// published is how fast, and how exactly, made-up events get into Redis.
type published struct {
	Schema  int     `json:"schema_version"`
	Command string  `json:"command"`
	Machine machine `json:"machine"`
	Servers string  `json:"servers"`
	Events  int     `json:"events"`
	Rate    rate    `json:"events_per_second"`
	CPU     float64 `json:"ingestion_cpu_us_per_event"`
	Redis   float64 `json:"redis_cpu_us_per_event"`
	Memory  float64 `json:"redis_bytes_per_event"`
	MaxRSS  int64   `json:"ingestion_max_rss_bytes"`
	Paced   []paced `json:"paced"`
}

// paced is how exactly one rate was kept, in the median run.
type paced struct {
	Intended float64 `json:"intended_events_per_second"`
	Achieved float64 `json:"achieved_events_per_second"`
	Error    float64 `json:"error"` // share of the intended
	Late     int64   `json:"late_events"`
	P50      float64 `json:"latency_p50_ms"`
	P99      float64 `json:"latency_p99_ms"`
	Max      float64 `json:"latency_max_ms"`
}

// accuracy is how exactly a rate has to be kept, up to half of what can be published.
const accuracy = 0.01

// publish lets the generator publish as fast as it can, then at shares of that.
func publish(ctx context.Context, o publishOptions, out io.Writer) (err error) {
	i, err := startIngestion(ctx, "publish", out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	f := published{Schema: 1, Command: "publish", Machine: thisMachine(), Servers: i.servers.Chosen, Events: o.events}
	invalid := ""
	// run lets it publish, and checks that Redis has as many entries as were published.
	run := func(rate float64, events int) (s generatorStatus, err error) {
		volume := map[string]any{"count": events}
		if _, err := i.control(ctx, http.MethodPatch, "", map[string]any{"rate": rate, "volume": volume, "arrivals": "even", "seed": len(f.Rate.Runs) + 1}); err != nil {
			return s, err
		}
		if _, err := i.control(ctx, http.MethodPost, "/start", nil); err != nil {
			return s, err
		}
		for s.State != "finished" {
			select {
			case <-ctx.Done():
				return s, ctx.Err()
			case <-i.Exited():
				return s, errors.New("ingestion ended by itself")
			case <-time.After(50 * time.Millisecond):
			}
			if s, err = i.control(ctx, http.MethodGet, "", nil); err != nil {
				return s, err
			}
		}
		if _, err := i.control(ctx, http.MethodPost, "/stop", nil); err != nil {
			return s, err
		}
		memory := i.redisMemory(ctx)
		n, err := i.empty(ctx)
		if events == o.events {
			f.Memory = (memory - i.redisMemory(ctx)) / float64(events)
		}
		if n != int64(events) || s.Statistics.Published != n {
			invalid = fmt.Sprintf("INVALID: of %d events %d were published, and Redis has %d", events, s.Statistics.Published, n)
		}
		return s, err
	}

	profiled := i.profiled(ctx, o.profile, 4, out)
	for range o.runs {
		_, before := processUsage(i.PID())
		redisBefore := i.redisCPU(ctx)
		s, err := run(1_000_000, o.events)
		if err != nil {
			return err
		}
		_, after := processUsage(i.PID())
		f.Rate.add(s.Statistics.Mean)
		f.CPU, f.Redis = (after-before)*1e6/float64(o.events), (i.redisCPU(ctx)-redisBefore)*1e6/float64(o.events)
		fmt.Fprintf(out, "published %d events: %.0f events/s\n", o.events, s.Statistics.Mean)
	}
	<-profiled
	for _, share := range []float64{0.05, 0.25, 0.5} {
		intended := math.Round(f.Rate.Median * share)
		var tries []paced
		for range o.runs {
			s, err := run(intended, int(intended*o.paced.Seconds()))
			if err != nil {
				return err
			}
			tries = append(tries, paced{Intended: intended, Achieved: s.Statistics.Mean, Error: s.Statistics.Mean/intended - 1, Late: s.Statistics.Late,
				P50: s.Statistics.Latency.P50, P99: s.Statistics.Latency.P99, Max: s.Statistics.Latency.Max})
		}
		slices.SortFunc(tries, func(a, b paced) int { return cmp.Compare(a.Achieved, b.Achieved) })
		f.Paced = append(f.Paced, tries[len(tries)/2])
	}
	f.MaxRSS, _ = processUsage(i.PID())

	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\npublish, median of %d runs\t%.0f events/s\t(%.0f to %.0f)\n", o.runs, f.Rate.Median, f.Rate.Lowest, f.Rate.Best)
	fmt.Fprintf(w, "CPU of ingestion, of Redis\t%.2f, %.2f µs an event\nmemory of Redis\t%.0f bytes an event\ningestion's memory, most\t%.0f MiB\n", f.CPU, f.Redis, f.Memory, float64(f.MaxRSS)/(1<<20))
	for _, p := range f.Paced {
		fmt.Fprintf(w, "at %.0f events/s\t%.0f achieved (%+.2f%%)\tfrom due to done: p50 %.1f ms, p99 %.1f ms, max %.0f ms\n",
			p.Intended, p.Achieved, p.Error*100, p.P50, p.P99, p.Max)
		if math.Abs(p.Error) > accuracy && invalid == "" {
			invalid = fmt.Sprintf("INVALID: a rate of %.0f was missed by %.1f%%", p.Intended, p.Error*100)
		}
	}
	if err := errors.Join(w.Flush(), writeFigures(o.json, f)); err != nil {
		return err
	}
	if invalid != "" {
		return errors.New(invalid)
	}
	return nil
}
