package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"time"

	"weir/bench/internal/report"
	"weir/loadgen"
)

type generateOptions struct {
	common
	events, runs int
}

func (o *generateOptions) register(flags *flag.FlagSet) {
	o.common.register(flags)
	flags.IntVar(&o.events, "events", 2_000_000, "events of one run")
	flags.IntVar(&o.runs, "runs", 5, "runs; the median counts")
}

// generate makes events up in one goroutine, at a rate that it cannot reach, so that
// it never waits; with an oracle it must know the count of every one.
func generate(ctx context.Context, flags *flag.FlagSet, o generateOptions, out io.Writer) error {
	return conduct(ctx, flags, o.common, out, func(ctx context.Context, x *experiment) error {
		for run := range o.runs {
			for _, with := range []bool{false, true} {
				g, err := flood(uint64(run+1), o.events)
				if err != nil {
					return err
				}
				name := "events_per_second"
				if with {
					g.Oracle()
					name = "with_oracle_events_per_second"
				}
				buf, bytes, n := make([]byte, 0, 4096), 0, int64(0)
				start := time.Now()
				for item, more := g.Next(buf); more; item, more = g.Next(buf) {
					bytes += len(item.Payload)
					n++
					if n%100_000 == 0 && ctx.Err() != nil {
						return ctx.Err()
					}
				}
				x.Add(name, report.EventsPerSecond, report.More, float64(n)/time.Since(start).Seconds())
				x.Add("bytes_per_event", report.Bytes, report.Neither, float64(bytes)/float64(n))
				if n != int64(o.events) {
					x.Invalidate("the generator made %d events, and was told to make %d", n, o.events)
				}
				if c := g.Oracle().Counts(); with && (c.Stored()+c.Duplicate+c.Malformed != n || g.Oracle().Total().Count != c.Stored()) {
					x.Invalidate("the oracle did not count every event")
				}
			}
		}
		return nil
	})
}

// flood is the built-in web shop at the highest rate there is.
func flood(seed uint64, events int) (*loadgen.Generator, error) {
	if events < 1 {
		return nil, errors.New("-events must be at least 1")
	}
	p, err := loadgen.Builtin("web-shop")
	if err != nil {
		return nil, err
	}
	p.Shape, p.Volume = loadgen.Constant(500_000), loadgen.Volume{Count: int64(events)}
	return loadgen.New(p, seed, time.Now().Add(-10*time.Minute))
}
