package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
)

type sweepOptions struct {
	system
	rates    rates
	duration time.Duration
	runs     int
}

// rates are events per second, as 5k,20k,100k.
type rates []float64

func (r *rates) String() string { return formatList(*r) }

// Set implements flag.Value.
func (r *rates) Set(text string) (err error) {
	*r, err = parseList(text, parseRate)
	return err
}

// parseRate reads 200, 5k or 1.5M.
func parseRate(text string) (float64, error) {
	text = strings.TrimSpace(text)
	unit := 1.
	switch {
	case strings.HasSuffix(text, "k"):
		unit = 1e3
	case strings.HasSuffix(text, "M"):
		unit = 1e6
	}
	v, err := strconv.ParseFloat(strings.TrimRight(text, "kM"), 64)
	if err != nil || v*unit <= 0 || v*unit > 1e6 {
		return 0, errors.New("must be events per second, above 0 and up to 1M, such as 500, 20k or 1.5k")
	}
	return v * unit, nil
}

// rate is one of them, as a flag.
type rate float64

func (r *rate) String() string { return strconv.FormatFloat(float64(*r), 'f', -1, 64) }

// Set implements flag.Value.
func (r *rate) Set(text string) error {
	v, err := parseRate(text)
	*r = rate(v)
	return err
}

func (o *sweepOptions) register(flags *flag.FlagSet) {
	o.system.register(flags)
	o.rates = rates{5_000, 20_000, 50_000, 100_000}
	flags.Var(&o.rates, "rates", "`rates` to offer, one after the other: 5k,20k,100k")
	flags.DurationVar(&o.duration, "duration", 20*time.Second, "how long each is offered")
	flags.IntVar(&o.runs, "runs", 1, "how often each is offered; repeats tell how much chance there is in a figure")
}

// sweep offers one rate after the other, and notes how the system behaves at each.
func sweep(ctx context.Context, flags *flag.FlagSet, o sweepOptions, out io.Writer) error {
	return o.conduct(ctx, flags, rig.Options{}, out, func(ctx context.Context, x *experiment, r *rig.Rig) error {
		if err := x.warmUp(ctx, r, o.rates[0]); err != nil {
			return err
		}
		for range o.runs {
			for _, rate := range o.rates {
				h, err := x.hold(ctx, r, rig.Load{Rate: rate}, o.duration)
				if h.Offered > 0 {
					h.note(r, x.Step(report.EventsPerSecond.Format(rate)))
				}
				if err != nil {
					return fmt.Errorf("at %s: %w", report.EventsPerSecond.Format(rate), err)
				}
				holds, how := h.sustained(time.Hour)
				x.say("%s offered: %s achieved; %s", report.EventsPerSecond.Format(rate), report.EventsPerSecond.Format(h.achieved()), how)
				if !holds {
					x.Note("%s did not go on: %s", report.EventsPerSecond.Format(rate), how)
				}
				x.status("waiting until all is written")
				if err := r.Drain(ctx); err != nil {
					return err
				}
			}
		}
		if err := x.sizes(ctx, r); err != nil {
			return err
		}
		return x.verify(ctx, r)
	})
}

// warmUp lets every connection, chunk and cache come into being before something counts.
func (x *experiment) warmUp(ctx context.Context, r *rig.Rig, rate float64) error {
	x.status("warming up")
	if _, err := x.hold(ctx, r, rig.Load{Rate: min(rate, 20_000)}, 2*time.Second); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	return r.Drain(ctx)
}
