package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	"weir/e2e/harness"
)

type soakOptions struct {
	system
	rate            rate
	duration, every time.Duration
	faults          bool
	seed            uint64
	calm            time.Duration
}

func (o *soakOptions) register(flags *flag.FlagSet) {
	o.system.register(flags)
	o.rate = 10_000
	flags.Var(&o.rate, "rate", "`rate` to offer all the time")
	flags.DurationVar(&o.duration, "duration", 10*time.Minute, "how long; hours if you like")
	flags.DurationVar(&o.every, "every", time.Minute, "how long one part is, of which latency and sizes are noted")
	flags.BoolVar(&o.faults, "faults", false, "have consumers killed, frozen and stopped, and servers restarted and killed, at random; only servers that the benchmark started")
	flags.Uint64Var(&o.seed, "seed", 1, "seed of the faults: the same one draws the same")
	flags.DurationVar(&o.calm, "calm", 5*time.Second, "mean time between two faults")
}

// soak offers one rate for long, with faults if that is asked for, and looks for what
// drifts: memory, latency, the size of tables and of the stream.
func soak(ctx context.Context, flags *flag.FlagSet, o soakOptions, out io.Writer) error {
	if o.duration < time.Second || o.every < time.Second || o.calm <= 0 {
		return wrongUsage("-duration and -every must be at least 1s, -calm above 0")
	}
	options := rig.Options{Faults: o.faults}
	if o.faults {
		// What a killed consumer leaves is taken over within seconds, as parts are short.
		options.Settings = []string{"FLUSH_TIMEOUT=5s", "CLAIM_MIN_IDLE=6s", "CLAIM_INTERVAL=1s"}
	}
	return o.conduct(ctx, flags, options, out, func(ctx context.Context, x *experiment, r *rig.Rig) error {
		if o.faults {
			if strings.HasPrefix(r.Servers.Chosen, "given") {
				return wrongUsage("-faults needs servers of the benchmark's own: REDIS_URL and POSTGRES_URL must not be set")
			}
			if err := r.Servers.Durable(ctx); err != nil {
				return err
			}
		}
		if err := x.warmUp(ctx, r, float64(o.rate)); err != nil {
			return err
		}
		s := soaking{experiment: x, soakOptions: o, rig: r, began: time.Now()}
		err := s.run(ctx)
		s.drift()
		if err != nil {
			return err
		}
		return x.verify(ctx, r)
	})
}

type soaking struct {
	*experiment
	soakOptions
	rig    *rig.Rig
	began  time.Time
	parts  []part
	struck map[string]int
}

// part is what was seen in one part of the time.
type part struct {
	at                         float64 // seconds since the soak began
	p99                        float64
	rows, tableBytes, logBytes int64
	length                     int64
}

// run offers the load part by part. The faults go on through all of them.
func (s *soaking) run(ctx context.Context) error {
	striking, stop := context.WithCancel(ctx)
	struck := make(chan error, 1)
	go func() {
		if s.faults {
			struck <- s.strike(striking)
		} else {
			struck <- nil
		}
	}()
	err := s.offer(ctx, struck)
	stop()
	return errors.Join(err, <-struck)
}

func (s *soaking) offer(ctx context.Context, struck chan error) error {
	for n := 1; time.Since(s.began) < s.duration; n++ {
		d := min(s.every, max(time.Second, s.duration-time.Since(s.began)))
		// Held back and sent later, so that all that is offered must be there in the end.
		h, err := s.hold(ctx, s.rig, rig.Load{Rate: float64(s.rate), Hold: true}, d)
		if err != nil {
			return err
		}
		step := s.Step(fmt.Sprintf("part %d", n))
		h.note(s.rig, step)
		p := part{at: time.Since(s.began).Seconds(), p99: h.probes.Queryable.At(99)}
		if err := s.measure(ctx, &p); err != nil && !s.faults {
			return err
		} else if err == nil {
			s.parts = append(s.parts, p)
		}
		s.say("part %d, %s: %s, event to queryable p99 %s", n, d, report.EventsPerSecond.Format(h.achieved()), report.Seconds.Format(p.p99))
		select {
		case err := <-struck:
			if s.faults || err != nil {
				struck <- nil
				return fmt.Errorf("a fault could not be made, or did not pass: %w", err)
			}
			struck <- nil
		default:
		}
	}
	return nil
}

func (s *soaking) measure(ctx context.Context, p *part) error {
	b, err := s.rig.Backlog(ctx)
	if err != nil {
		return err
	}
	p.length = b.Length
	return s.rig.Pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM events), hypertable_size('events'),
		pg_total_relation_size('rollup_deltas') + pg_total_relation_size('rollup_user_deltas_all') + pg_total_relation_size('rollup_user_deltas_by')`).Scan(&p.rows, &p.tableBytes, &p.logBytes)
}

// strike has one fault after the other happen, until ctx ends.
func (s *soaking) strike(ctx context.Context) error {
	random := rand.New(rand.NewPCG(s.seed, 3))
	victim := func() string { return rig.ConsumerName(random.IntN(s.consumers)) }
	faults := append(s.rig.Servers.Faults(random, s.rig.Box), []harness.Fault{
		{Name: "consumer killed", Weight: 4, Happens: func(ctx context.Context) error {
			name := victim()
			s.rig.KillProgram(name)
			return s.rig.StartProgram(context.WithoutCancel(ctx), name)
		}},
		{Name: "consumer stopped cleanly", Weight: 2, Happens: func(ctx context.Context) error {
			name := victim()
			return errors.Join(s.rig.StopProgram(context.WithoutCancel(ctx), name), s.rig.StartProgram(context.WithoutCancel(ctx), name))
		}},
		{Name: "consumer frozen for a while", Weight: 4, Happens: func(ctx context.Context) error {
			p := s.rig.Program(victim())
			if err := p.Signal(syscall.SIGSTOP); err != nil {
				return err
			}
			sleep(ctx, harness.While(random, time.Second))
			return p.Signal(syscall.SIGCONT)
		}},
	}...)
	s.struck = map[string]int{}
	for {
		sleep(ctx, harness.While(random, s.calm))
		if ctx.Err() != nil {
			return nil
		}
		fault := harness.Draw(random, faults)
		began := time.Now()
		if err := fault.Happens(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", fault.Name, err)
		}
		s.struck[fault.Name]++
		s.say("%s  %s, %v", began.Format(time.TimeOnly), fault.Name, time.Since(began).Round(time.Millisecond))
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// drift notes by how much things grew in an hour: the line that fits best. What follows
// the number of events, as a table does, is told by the event.
func (s *soaking) drift() {
	total := 0
	for name, n := range s.struck {
		total += n
		s.Note("%s: %d times", name, n)
	}
	if s.faults {
		s.Add("faults", report.Number, report.Neither, float64(total))
	}
	const hour = 3600
	samples := s.rig.Samples(s.began, time.Now())
	for _, name := range []string{rig.Ingestion, rig.Generator, rig.Consumer, rig.API, rig.Redis, rig.Postgres} {
		var at, memory []float64
		for _, sample := range samples {
			if m := sample.Usage[name].Memory; m > 0 {
				at, memory = append(at, sample.At.Sub(s.began).Seconds()), append(memory, float64(m))
			}
		}
		if len(at) > 1 {
			s.Add(name+"_memory_drift_bytes_per_hour", report.Bytes, report.Neither, rig.Slope(at, memory)*hour)
		}
	}
	var at, p99, length, log, rows, table []float64
	for _, p := range s.parts {
		at, p99, length, log = append(at, p.at), append(p99, p.p99), append(length, float64(p.length)), append(log, float64(p.logBytes))
		rows, table = append(rows, float64(p.rows)), append(table, float64(p.tableBytes))
	}
	s.Add("latency_p99_drift_seconds_per_hour", report.Seconds, report.Neither, rig.Slope(at, p99)*hour)
	s.Add("stream_drift_entries_per_hour", report.Number, report.Neither, rig.Slope(at, length)*hour)
	s.Add("delta_log_drift_bytes_per_hour", report.Bytes, report.Neither, rig.Slope(at, log)*hour)
	s.Add("table_growth_bytes_per_event", report.Bytes, report.Neither, rig.Slope(rows, table))
	for _, p := range []struct {
		name string
		unit report.Unit
		y    []float64
	}{{"Latency p99 by part", report.Seconds, p99}, {"Entries in the stream by part", report.Number, length}, {"Bytes of the table by part", report.Bytes, table}} {
		s.Series = append(s.Series, report.Series{Chart: p.name, Name: p.name, Unit: p.unit, Seconds: at, Values: p.y})
	}
}
