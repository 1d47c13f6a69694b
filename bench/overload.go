package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
)

type overloadOptions struct {
	system
	capacity      rate
	factors       factors
	duration      time.Duration
	slo, recovery time.Duration
}

// factors are multiples of the capacity.
type factors []float64

func (f *factors) String() string { return formatList(*f) }

// Set implements flag.Value.
func (f *factors) Set(text string) (err error) {
	*f, err = parseList(text, parseFactor)
	return err
}

func parseFactor(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || v <= 0 || v > 100 {
		return 0, errors.New("must be multiples of the capacity, such as 2,5")
	}
	return v, nil
}

func (o *overloadOptions) register(flags *flag.FlagSet) {
	o.system.register(flags)
	o.factors = factors{2, 5}
	flags.Var(&o.capacity, "capacity", "the system's `rate`; 0 measures it first")
	flags.Var(&o.factors, "factors", "by how much to overload, one after the other")
	flags.DurationVar(&o.duration, "duration", 30*time.Second, "how long each overload lasts")
	flags.DurationVar(&o.slo, "slo-p99", time.Second, "recovered is when the oldest event that waits is no older")
	flags.DurationVar(&o.recovery, "recovery", 5*time.Minute, "how long to wait for a recovery before giving up")
}

// overload offers more than the system can take, and half of what it can after each:
// how soon it refuses, what those that it accepted see, and how long it takes to recover.
func overload(ctx context.Context, flags *flag.FlagSet, o overloadOptions, out io.Writer) error {
	return o.conduct(ctx, flags, rig.Options{}, out, func(ctx context.Context, x *experiment, r *rig.Rig) (err error) {
		if err := x.warmUp(ctx, r, 10_000); err != nil {
			return err
		}
		capacity := float64(o.capacity)
		if capacity == 0 {
			c := capacityOptions{slo: o.slo, step: 8 * time.Second, confirm: 15 * time.Second, from: 10_000, precision: 0.1}
			if capacity, err = x.findCapacity(ctx, r, c); err != nil {
				return err
			}
		} else {
			x.Add("sustainable_events_per_second", report.EventsPerSecond, report.More, capacity)
		}
		for _, factor := range o.factors {
			if err := x.overloadBy(ctx, r, o, factor, capacity); err != nil {
				return fmt.Errorf("%g times the capacity: %w", factor, err)
			}
		}
		return x.verify(ctx, r)
	})
}

// overloadBy offers too much for a while, and then half of the capacity.
func (x *experiment) overloadBy(ctx context.Context, r *rig.Rig, o overloadOptions, factor, capacity float64) error {
	step := x.Step(fmt.Sprintf("%g times the capacity", factor))
	watching, stop := context.WithCancel(ctx)
	began := time.Now()
	refused := firstRefusal(watching, r)
	var recovery time.Duration
	h, err := x.holdThen(ctx, r, rig.Load{Rate: factor * capacity}, o.duration, func(ctx context.Context, ended time.Time) error {
		stop()
		if _, err := r.Begin(ctx, rig.Load{Rate: capacity / 2}); err != nil {
			return err
		}
		recovered, err := x.recover(ctx, r, o)
		recovery = recovered.Sub(ended)
		_, errEnd := r.End(context.WithoutCancel(ctx))
		return errors.Join(err, errEnd)
	})
	stop() // if it did not get so far
	first := <-refused
	if err != nil {
		return err
	}
	h.note(r, step)
	if h.Refused+h.probes.Refused > 0 {
		if !h.probes.FirstNo.IsZero() && (first.IsZero() || h.probes.FirstNo.Before(first)) {
			first = h.probes.FirstNo
		}
		step.Add("first_refusal_after_seconds", report.Seconds, report.Neither, first.Sub(began).Seconds())
	}
	step.Add("refused_share", report.Share, report.Neither, float64(h.Refused)/float64(max(h.Offered, 1)))
	x.say("%s: %s of %s events refused; event to queryable p99 of those accepted %s", step.Name, report.Number.Format(float64(h.Refused)),
		report.Number.Format(float64(h.Offered)), report.Seconds.Format(h.probes.Queryable.At(99)))
	x.bounded(r, step, h)
	step.Add("recovery_seconds", report.Seconds, report.Less, recovery.Seconds())
	x.say("%s: recovered %s after the load had gone back to half of the capacity", step.Name, report.Seconds.Format(recovery.Seconds()))
	return r.Drain(ctx)
}

// firstRefusal asks the generator often, and gives the time when it was first refused.
func firstRefusal(ctx context.Context, r *rig.Rig) <-chan time.Time {
	first := make(chan time.Time, 1)
	go func() {
		defer close(first)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		started := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			s, err := r.Status(ctx)
			if err == nil && s.StartedAt != nil && s.StartedAt.After(started) && s.Statistics.Refused > 0 {
				first <- time.Now()
				return
			}
		}
	}()
	return first
}

// recover waits until ingestion takes everything again, and no event waits for long.
func (x *experiment) recover(ctx context.Context, r *rig.Rig, o overloadOptions) (time.Time, error) {
	deadline := time.Now().Add(o.recovery)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		case <-tick.C:
		}
		x.status("recovering")
		b, err := r.Backlog(ctx)
		open, errOpen := r.Metric(ctx, rig.Ingestion, "weir_ingestion_gate_open")
		if err == nil && errOpen == nil && open == 1 && b.Age < o.slo {
			return time.Now(), nil
		}
		if time.Now().After(deadline) {
			return time.Time{}, fmt.Errorf("it has not recovered within %v: %d events wait, the oldest for %v", o.recovery, b.Events, b.Age.Round(time.Millisecond))
		}
	}
}

// bounded tells whether a process' memory still grew when the overload had gone on for
// long: what was needed for it should have been taken by half of the time. Growth of the
// servers is told and not judged: Redis fills up to the mark at which ingestion refuses, and
// PostgreSQL up to its shared_buffers, which may take longer than the overload.
func (x *experiment) bounded(r *rig.Rig, step *report.Step, h held) {
	samples := r.Samples(h.from.At, h.to.At)
	if len(samples) < 6 {
		return
	}
	services := []string{rig.Ingestion, rig.Generator, rig.Consumer, rig.API}
	for _, name := range append(services, rig.Redis, rig.Postgres) {
		early, late := int64(0), int64(0)
		for _, s := range samples[len(samples)/3 : 2*len(samples)/3] {
			early = max(early, s.Usage[name].Memory)
		}
		for _, s := range samples[2*len(samples)/3:] {
			late = max(late, s.Usage[name].Memory)
		}
		if early == 0 {
			continue
		}
		growth := float64(late)/float64(early) - 1
		step.Add(name+"_memory_growth_share", report.Share, report.Neither, growth)
		if slices.Contains(services, name) && late > early*3/2+64<<20 {
			x.Invalidate("%s: %s's memory still grew when the overload had gone on for long, from %s to %s", step.Name, name,
				report.Bytes.Format(float64(early)), report.Bytes.Format(float64(late)))
		}
	}
}
