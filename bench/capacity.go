package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
)

type capacityOptions struct {
	system
	slo, step, confirm time.Duration
	from               rate
	precision          float64
	most               float64 // the highest rate to try; not a flag
}

func (o *capacityOptions) register(flags *flag.FlagSet) {
	o.system.register(flags)
	o.from = 10_000
	flags.DurationVar(&o.slo, "slo-p99", time.Second, "how long 99% of the events may take until a query finds them")
	flags.Var(&o.from, "from", "the first `rate` to try")
	flags.DurationVar(&o.step, "step", 10*time.Second, "how long a rate is tried")
	flags.DurationVar(&o.confirm, "confirm", time.Minute, "how long the rate that was found is held")
	flags.Float64Var(&o.precision, "precision", 0.05, "how near to the limit, as a share, the search goes")
}

// mostRate is what the generator takes as a rate.
const mostRate = 1e6

// capacity finds the highest rate that goes on: all of it is published and written, the
// backlog does not grow, and 99% of the events can be queried within the objective.
func capacity(ctx context.Context, flags *flag.FlagSet, o capacityOptions, out io.Writer) error {
	if o.slo <= 0 || o.step < time.Second || o.confirm < time.Second || o.precision < 0.01 || o.precision > 1 {
		return wrongUsage("-slo-p99 must be above 0, -step and -confirm at least 1s, and -precision from 0.01 to 1")
	}
	return o.conduct(ctx, flags, rig.Options{}, out, func(ctx context.Context, x *experiment, r *rig.Rig) error {
		if err := x.warmUp(ctx, r, float64(o.from)); err != nil {
			return err
		}
		if _, err := x.findCapacity(ctx, r, o); err != nil {
			return err
		}
		if err := x.sizes(ctx, r); err != nil {
			return err
		}
		return x.verify(ctx, r)
	})
}

// findCapacity searches, and holds what it found for as long as is asked; when that
// does not hold, a little less. It returns the rate that did.
func (x *experiment) findCapacity(ctx context.Context, r *rig.Rig, o capacityOptions) (float64, error) {
	s := search{rate: float64(o.from), most: cmp.Or(o.most, mostRate), precision: o.precision}
	var limit held // the lowest that did not hold
	try := func(rate float64, d time.Duration, what string) (held, bool, error) {
		h, err := x.hold(ctx, r, rig.Load{Rate: rate}, d)
		if err != nil {
			return h, false, fmt.Errorf("%s %s: %w", what, report.EventsPerSecond.Format(rate), err)
		}
		ok, how := h.sustained(o.slo)
		if !ok && (limit.rate == 0 || rate < limit.rate) {
			limit = h
		}
		verdict := "holds"
		if !ok {
			verdict = "does not hold"
		}
		x.say("%s %s for %v: %s, %s", what, report.EventsPerSecond.Format(rate), d, verdict, how)
		x.status("waiting until all is written")
		return h, ok, r.Drain(ctx)
	}
	for !s.done() {
		h, ok, err := try(s.rate, o.step, "tried")
		if err != nil {
			return 0, err
		}
		s.learn(ok, h.written)
	}
	for rate := s.low; rate >= 1; rate *= 0.95 {
		h, ok, err := try(rate, o.confirm, "held")
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		x.Add("sustainable_events_per_second", report.EventsPerSecond, report.More, rate)
		x.Add("event_to_queryable_p99_seconds", report.Seconds, report.Less, h.probes.Queryable.At(99))
		x.Add("event_to_live_p99_seconds", report.Seconds, report.Less, h.probes.Live.At(99))
		h.note(r, x.Step("held at "+report.EventsPerSecond.Format(rate)))
		if limit.rate > 0 {
			_, why := limit.sustained(o.slo)
			x.Note("At %s it did not hold: %s. The bottleneck was %s.", report.EventsPerSecond.Format(limit.rate), why, limit.bottleneck(x.Machine))
			limit.note(r, x.Step("did not hold at "+report.EventsPerSecond.Format(limit.rate)))
		}
		return rate, nil
	}
	return 0, errors.New("no rate held: with the objective for latency, or on this machine, not even one event per second goes on")
}
