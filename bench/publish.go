package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"time"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	"weir/openapi/client"
	control "weir/openapi/client/ingestion"
)

type publishOptions struct {
	common
	events, runs int
	paced        time.Duration
	profile      string
}

func (o *publishOptions) register(flags *flag.FlagSet) {
	o.common.register(flags)
	flags.IntVar(&o.events, "events", 1_000_000, "events of one run")
	flags.IntVar(&o.runs, "runs", 5, "runs; the median counts")
	flags.DurationVar(&o.paced, "paced", 5*time.Second, "how long each rate is held in a run")
	flags.StringVar(&o.profile, "cpuprofile", "", "`file` to write ingestion's CPU profile of the first run to")
}

// accuracy is how exactly a rate has to be kept, up to half of what can be published.
const accuracy = 0.01

// publish lets the generator publish as fast as it can, then at shares of that.
func publish(ctx context.Context, flags *flag.FlagSet, o publishOptions, out io.Writer) error {
	if o.events < 1 || o.runs < 1 {
		return wrongUsage("-events and -runs must be at least 1")
	}
	return conduct(ctx, flags, o.common, out, func(ctx context.Context, x *experiment) (err error) {
		i, err := startIngestion(ctx, x)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, i.Close()) }()
		profiled := i.profiled(ctx, o.profile, 4, x)
		fastest := 0.
		for run := range o.runs {
			x.status("run %d of %d, as fast as it goes", run+1, o.runs)
			_, before := rig.Peak(i.PID())
			redisBefore := i.redisCPU(ctx)
			s, memory, err := i.publish(ctx, x, 1_000_000, o.events, run+1)
			if err != nil {
				return err
			}
			_, after := rig.Peak(i.PID())
			x.Add("events_per_second", report.EventsPerSecond, report.More, s.MeanRate)
			x.Add("ingestion_cpu_us_per_event", report.Microseconds, report.Less, (after-before)*1e6/float64(o.events))
			x.Add("redis_cpu_us_per_event", report.Microseconds, report.Less, (i.redisCPU(ctx)-redisBefore)*1e6/float64(o.events))
			x.Add("redis_bytes_per_event", report.Bytes, report.Less, memory)
			f, _ := x.Figure("events_per_second")
			fastest = f.Median
		}
		<-profiled
		for _, share := range []float64{0.05, 0.25, 0.5} {
			intended := math.Max(1, math.Round(fastest*share))
			step := x.Step(fmt.Sprintf("%.0f%% of the fastest", 100*share))
			step.Add("intended_events_per_second", report.EventsPerSecond, report.Neither, intended)
			for run := range o.runs {
				x.status("%s, run %d of %d", step.Name, run+1, o.runs)
				s, _, err := i.publish(ctx, x, intended, max(1, int(intended*o.paced.Seconds())), run+1)
				if err != nil {
					return err
				}
				step.Add("achieved_events_per_second", report.EventsPerSecond, report.Neither, s.MeanRate)
				step.Add("error_share", report.Share, report.Neither, s.MeanRate/intended-1)
				step.Add("late_events", report.Number, report.Less, float64(s.Late))
				step.Add("publish_delay_p50_seconds", report.Seconds, report.Less, s.LatencyMs.P50/1000)
				step.Add("publish_delay_p99_seconds", report.Seconds, report.Less, s.LatencyMs.P99/1000)
				step.Add("publish_delay_max_seconds", report.Seconds, report.Less, s.LatencyMs.Max/1000)
			}
			if missed := step.Value("error_share"); math.Abs(missed) > accuracy {
				x.Invalidate("a rate of %.0f was missed by %.1f%%", intended, 100*missed)
			}
		}
		memory, _ := rig.Peak(i.PID())
		x.Add("ingestion_max_rss_bytes", report.Bytes, report.Less, float64(memory))
		return nil
	})
}

// publish publishes a number of events, and checks that Redis has as many entries as
// were published. It also returns the bytes that one takes there.
func (i *ingestion) publish(ctx context.Context, x *experiment, rate float64, events, seed int) (s control.Figures, memory float64, err error) {
	g, err := control.NewClientWithResponses(i.URL)
	if err != nil {
		return s, 0, err
	}
	count, seed64, arrivals := int64(events), int64(seed), control.ChangeArrivalsEven
	change := control.Change{Rate: &rate, Volume: &control.Volume{Count: &count}, Arrivals: &arrivals, Seed: &seed64}
	if _, err := client.Answer(g.ChangeGeneratorWithResponse(ctx, change)); err != nil {
		return s, 0, err
	}
	status, err := client.Answer(g.StartGeneratorWithResponse(ctx))
	for ; err == nil && status.State != control.Finished; status, err = client.Answer(g.GetGeneratorWithResponse(ctx)) {
		select {
		case <-ctx.Done():
			return s, 0, ctx.Err()
		case <-i.Exited():
			return s, 0, fmt.Errorf("ingestion ended by itself:\n%s", i.Said())
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err != nil {
		return s, 0, err
	}
	if _, err := client.Answer(g.StopGeneratorWithResponse(ctx)); err != nil {
		return s, 0, err
	}
	before := i.redisMemory(ctx)
	n, err := i.empty(ctx)
	if err == nil && (n != int64(events) || status.Statistics.Published != n) {
		x.Invalidate("of %d events %d were published, and Redis has %d", events, status.Statistics.Published, n)
	}
	return status.Statistics, (before - i.redisMemory(ctx)) / float64(events), err
}
