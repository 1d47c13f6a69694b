package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	control "weir/openapi/client/ingestion"
)

// held is what was seen while a rate was offered for a while.
type held struct {
	rate     float64
	duration time.Duration
	lasted   time.Duration // from when the load began until it had ended
	control.Figures
	probes   rig.ProbeResult
	from, to rig.Sample
	slope    float64 // of the backlog, events per second
	written  float64 // events per second that became rows
	batch    float64 // events of a transaction, on average
}

// hold offers a rate for a while, with probes beside it, and returns when every probe
// is found. The load does not wait for anything; so what the system does not manage
// shows as backlog, latency and refusals.
func (x *experiment) hold(ctx context.Context, r *rig.Rig, l rig.Load, d time.Duration) (held, error) {
	return x.holdThen(ctx, r, l, d, func(context.Context, time.Time) error { return nil })
}

// holdThen is hold, and calls then as soon as the load has ended, with the time at which it
// did, while probes are still looked for: they are found behind the whole backlog, when
// what then is to see is over.
func (x *experiment) holdThen(ctx context.Context, r *rig.Rig, l rig.Load, d time.Duration, then func(ctx context.Context, ended time.Time) error) (h held, err error) {
	h = held{rate: l.Rate, duration: d}
	batches := func() (events, transactions float64) {
		events, _ = r.Metric(ctx, rig.Consumer, "weir_consumer_batch_events_sum")
		transactions, _ = r.Metric(ctx, rig.Consumer, "weir_consumer_batch_events_count")
		return events, transactions
	}
	events, transactions := batches()
	probes, err := r.Probe(ctx, rig.ProbesPerSecond)
	if err != nil {
		return h, err
	}
	h.from = r.Sample(ctx)
	began, err := r.Begin(ctx, l)
	if err != nil { // then there is nothing to end
		probes.Stop(ctx)
		return h, err
	}
	err = x.wait(ctx, r, fmt.Sprintf("%s offered", report.EventsPerSecond.Format(l.Rate)), d)
	figures, errEnd := r.End(context.WithoutCancel(ctx))
	ended := time.Now()
	h.Figures, h.lasted = figures, ended.Sub(began)
	// What is counted, and what was used for it, are of the same time.
	h.to = r.Sample(ctx)
	eventsThen, transactionsThen := batches()
	if err == nil {
		err = errEnd
	}
	var next errgroup.Group
	if err == nil {
		next.Go(func() error { return then(ctx, ended) })
	}
	h.probes = probes.Stop(ctx)
	if errThen := next.Wait(); err == nil {
		err = errThen
	}
	// The first seconds are not like the others: the batches find their size.
	h.slope = r.Slope(h.from.At.Add(d/5), h.to.At)
	if n := transactionsThen - transactions; n > 0 && eventsThen > events {
		h.batch = (eventsThen - events) / n
		h.written = (eventsThen - events) / h.to.At.Sub(h.from.At).Seconds()
	}
	return h, err
}

// wait lets time pass, and tells how the system is meanwhile.
func (x *experiment) wait(ctx context.Context, r *rig.Rig, what string, d time.Duration) error {
	end := time.Now().Add(d)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	done := time.NewTimer(d)
	defer done.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-done.C:
			return nil
		case <-tick.C:
			if s := r.Samples(time.Now().Add(-2*rig.Every), time.Now()); x.terminal && len(s) > 0 {
				now := s[len(s)-1]
				x.status("%s, %.0f s left; backlog %s, oldest %s", what, time.Until(end).Seconds(),
					report.Number.Format(float64(now.Backlog)), report.Seconds.Format(now.Age.Seconds()))
			}
		}
	}
}

// achieved is how many events a second were published in all the time of the load. The
// generator's own mean ends with the last that was taken: if many were refused at the end,
// it is more.
func (h *held) achieved() float64 { return float64(h.Published) / h.lasted.Seconds() }

// note writes all that was seen into a step.
func (h *held) note(r *rig.Rig, s *report.Step) {
	s.Add("duration_seconds", report.Seconds, report.Neither, h.duration.Seconds())
	s.Add("offered_events_per_second", report.EventsPerSecond, report.Neither, float64(h.Offered)/h.lasted.Seconds())
	s.Add("achieved_events_per_second", report.EventsPerSecond, report.More, h.achieved())
	if h.batch > 0 { // else a consumer was started anew in between: its counters began again
		s.Add("written_events_per_second", report.EventsPerSecond, report.More, h.written)
		s.Add("batch_events", report.Number, report.Neither, h.batch)
	}
	s.Add("refused_events", report.Number, report.Less, float64(h.Refused))
	s.Add("backlog_slope_events_per_second", report.EventsPerSecond, report.Neither, h.slope)
	for _, p := range []struct {
		name string
		ms   float64
	}{{"p50", h.LatencyMs.P50}, {"p90", h.LatencyMs.P90}, {"p99", h.LatencyMs.P99}, {"p999", h.LatencyMs.P999}, {"max", h.LatencyMs.Max}} {
		s.Add("publish_delay_"+p.name+"_seconds", report.Seconds, report.Less, p.ms/1000)
	}
	noteLatency(s, "event_to_accepted", h.probes.Accepted)
	noteLatency(s, "event_to_queryable", h.probes.Queryable)
	noteLatency(s, "event_to_live", h.probes.Live)
	s.Add("probes_refused", report.Number, report.Less, float64(h.probes.Refused))
	s.Add("probes_failed", report.Number, report.Less, float64(h.probes.Failed))
	r.Resources(s, h.from, h.to, h.Published)
}

func noteLatency(s *report.Step, name string, l rig.Latency) {
	if l.Count() == 0 {
		return
	}
	for _, p := range []struct {
		name string
		at   float64
	}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p999", 99.9}, {"max", 100}} {
		s.Add(name+"_"+p.name+"_seconds", report.Seconds, report.Less, l.At(p.at))
	}
}

// sustained tells whether the rate was one that could go on, and if not, why.
func (h *held) sustained(slo time.Duration) (ok bool, why string) {
	p99 := h.probes.Queryable.At(99)
	allowed := max(0.02*h.rate, wavers(h.rate, h.batch, h.duration.Seconds()))
	switch {
	case h.Refused > 0 || h.probes.Refused > 0:
		return false, fmt.Sprintf("%d events were refused, because too many waited", h.Refused+h.probes.Refused)
	case h.achieved() < 0.98*h.rate-4*math.Sqrt(h.rate/h.duration.Seconds()): // visitors come by chance, now more, now fewer
		return false, fmt.Sprintf("only %s were published", report.EventsPerSecond.Format(h.achieved()))
	case h.probes.Failed+h.probes.Missing > 0:
		return false, fmt.Sprintf("%d probes failed and %d were not found: %v", h.probes.Failed, h.probes.Missing, h.probes.Failure)
	case p99 > slo.Seconds():
		return false, fmt.Sprintf("event to queryable p99 was %s", report.Seconds.Format(p99))
	case h.slope > allowed:
		return false, fmt.Sprintf("the backlog grew by %s", report.EventsPerSecond.Format(h.slope))
	}
	return true, fmt.Sprintf("event to queryable p99 %s, backlog %+.0f events/s", report.Seconds.Format(p99), h.slope)
}

// wavers is by how many events a second what is written in some seconds may differ from
// what comes, though the rate goes on: the backlog goes up and down by a batch or two.
func wavers(rate, batch, seconds float64) float64 { return max(0.2*rate, 2*batch) / seconds }

// bottleneck names the resource that ran out, and who used most of it.
func (h *held) bottleneck(machine report.Machine) string {
	took := h.to.At.Sub(h.from.At).Seconds()
	type user struct {
		name  string
		cores float64
	}
	var users []user
	all := 0.
	for name := range h.to.Usage {
		u := user{name, (h.to.Usage[name].CPU - h.from.Usage[name].CPU) / took}
		users, all = append(users, u), all+u.cores
	}
	slices.SortFunc(users, func(a, b user) int {
		if a.cores > b.cores {
			return -1
		}
		return 1
	})
	list := ""
	for _, u := range users {
		if u.cores > 0.02*all {
			list += fmt.Sprintf(", %s %.2f", u.name, u.cores)
		}
	}
	busy, waiting := (h.to.Busy-h.from.Busy)/took, (h.to.Waiting-h.from.Waiting)/took
	one := func(name string) float64 { return (h.to.Usage[name].CPU - h.from.Usage[name].CPU) / took }
	cores := float64(machine.CPUs)
	switch {
	case busy > 0.85*cores:
		return fmt.Sprintf("CPU: %.2f of %d cores were busy%s", busy, machine.CPUs, list)
	case one(rig.Redis) > 0.85:
		return fmt.Sprintf("Redis' one thread, which used %.2f of a core: more partitions on a Redis Cluster would help", one(rig.Redis))
	case waiting > 0.15*cores:
		return fmt.Sprintf("the disk: %.2f cores waited for it", waiting)
	case h.achieved() < 0.98*h.rate:
		return fmt.Sprintf("the generator, which used %.2f cores and could not make more events", one(rig.Generator))
	}
	return fmt.Sprintf("waiting, not a resource: %.2f of %d cores were busy%s; more consumers or writers (CONSUMER_WRITERS) may help", busy, machine.CPUs, list)
}
