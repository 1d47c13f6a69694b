package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
)

type liveOptions struct {
	system
	clients  int
	rate     rate
	duration time.Duration
}

func (o *liveOptions) register(flags *flag.FlagSet) {
	o.system.register(flags)
	o.rate = 2000
	flags.IntVar(&o.clients, "clients", 1000, "WebSocket clients of the live feed, in processes of up to 4,000")
	flags.Var(&o.rate, "rate", "`rate` at which events flow")
	flags.DurationVar(&o.duration, "duration", 20*time.Second, "how long")
}

// live has many clients listen to the live feed while events flow: what a client costs
// the api, and how long it takes from when an event was accepted until it is with them.
func live(ctx context.Context, flags *flag.FlagSet, o liveOptions, out io.Writer) error {
	if o.clients < 1 || o.duration < time.Second {
		return wrongUsage("-clients must be at least 1, -duration 1s")
	}
	// LIVE_MAX_CLIENTS: these, the probes' own, and room.
	return o.conduct(ctx, flags, rig.Options{Settings: []string{fmt.Sprintf("LIVE_MAX_CLIENTS=%d", o.clients+100)}}, out, func(ctx context.Context, x *experiment, r *rig.Rig) error {
		if err := x.warmUp(ctx, r, float64(o.rate)); err != nil {
			return err
		}
		alone, err := x.hold(ctx, r, rig.Load{Rate: float64(o.rate)}, min(o.duration, 10*time.Second))
		if err != nil {
			return err
		}
		alone.note(r, x.Step("no clients"))

		x.status("connecting %d clients", o.clients)
		c, err := listen(ctx, r.Program(rig.API).URL, o.clients)
		if err != nil {
			return fmt.Errorf("connect %d clients: %w", o.clients, err)
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		h, err := x.hold(ctx, r, rig.Load{Rate: float64(o.rate)}, o.duration)
		if err != nil {
			return err
		}
		step := x.Step(fmt.Sprintf("%d clients", o.clients))
		h.note(r, step)
		heard, err := c.Result(h.probes.All)
		if err != nil {
			return fmt.Errorf("ask the clients what they got: %w", err)
		}
		took := h.to.At.Sub(h.from.At).Seconds()
		noteLatency(step, "accepted_to_client", heard.latency)
		step.Add("messages_per_client_per_second", report.PerSecond, report.Neither, float64(heard.messages)/took/float64(o.clients))
		step.Add("messages_per_second", report.PerSecond, report.More, float64(heard.messages)/took)
		step.Add("closed_clients", report.Number, report.Less, float64(heard.closed))
		step.Add("missed_messages", report.Number, report.Less, float64(heard.missed))
		x.Add("event_accepted_to_message_p99_seconds", report.Seconds, report.Less, heard.latency.At(99))
		x.Add("messages_per_second", report.PerSecond, report.More, float64(heard.messages)/took)
		memory := func(h held) (most int64) {
			for _, s := range r.Samples(h.from.At, h.to.At) {
				most = max(most, s.Usage[rig.API].Memory)
			}
			return most
		}
		x.Add("api_bytes_per_client", report.Bytes, report.Less, float64(memory(h)-memory(alone))/float64(o.clients))
		if heard.closed > 0 {
			x.Note("%d of %d clients were closed before the end: %s", heard.closed, o.clients, heard.why)
		}
		if all := int64(o.clients * len(h.probes.All)); heard.latency.Count() < all {
			x.Note("of %d times that a client should have heard of a probe there were %d: the others, if no client was closed, came with a snapshot", all, heard.latency.Count())
		}
		if heard.missed > 0 {
			x.Invalidate("clients that were connected all the time missed %d messages", heard.missed)
		}
		return x.verify(ctx, r)
	})
}
