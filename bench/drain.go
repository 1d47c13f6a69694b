package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	"weir/e2e/harness"
	"weir/loadgen"
	"weir/migrations"
	"weir/openapi/client"
	control "weir/openapi/client/consumer"
	"weir/services/shared/event"
	"weir/services/shared/redisclient"
)

type drainOptions struct {
	common
	events, copyBatch, runs int
	cost                    bool
	settings                settings
	profile                 string
}

func (o *drainOptions) register(flags *flag.FlagSet) {
	o.common.register(flags)
	flags.IntVar(&o.events, "events", 1_000_000, "events in the backlog")
	flags.IntVar(&o.runs, "runs", 3, "runs; the median counts")
	flags.BoolVar(&o.cost, "rollup-cost", false, "also measure what rollups cost, by draining with and without them")
	flags.IntVar(&o.copyBatch, "copy-batch", 10_000, "rows of one raw COPY, to compare with")
	flags.Var(&o.settings, "set", "a setting of the consumer, `NAME=VALUE`; may be repeated")
	flags.StringVar(&o.profile, "cpuprofile", "", "`file` to write the consumer's CPU profile to")
}

// drainage is what one run of the command works with.
type drainage struct {
	*experiment
	drainOptions
	servers  *harness.Servers
	binaries harness.Binaries
	payloads []string
	rows     []event.Event
}

// drain fills a stream while no consumer reads, times a consumer emptying it, and in
// the same run times the parts alone: raw COPY of the same rows into the same schema,
// and Redis taking and giving the same entries.
func drain(ctx context.Context, flags *flag.FlagSet, o drainOptions, out io.Writer) error {
	if o.events < 1 || o.runs < 1 || o.copyBatch < 1 {
		return wrongUsage("-events, -runs and -copy-batch must be at least 1")
	}
	return conduct(ctx, flags, o.common, out, func(ctx context.Context, x *experiment) (err error) {
		d := &drainage{experiment: x, drainOptions: o}
		d.servers, err = harness.Start(ctx, harness.Options{Log: x.say, Direct: true})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.servers.Close()) }()
		x.Servers = d.servers.Chosen
		dir, err := os.MkdirTemp("", "weir-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if d.binaries, err = harness.Build(ctx, dir); err != nil {
			return err
		}
		if err := d.makeUp(); err != nil {
			return err
		}
		// Memory that no one has used yet is slow to come by, and the drain, which is first,
		// would pay for it: its ratio was the smallest of three in each of three commands.
		d.status("warming up")
		if _, err := d.rawCopy(ctx, 2); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		for run := range o.runs {
			if err := d.run(ctx, run); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeUp makes valid, different events of the built-in web shop, spread over ten
// minutes like live traffic.
func (d *drainage) makeUp() (err error) {
	if d.payloads, err = makeUp(d.events); err != nil {
		return err
	}
	d.rows = make([]event.Event, d.events)
	bytes := 0
	for i, p := range d.payloads {
		bytes += len(p)
		if invalid := d.rows[i].Parse(p); invalid != nil {
			return invalid
		}
	}
	d.Add("bytes_per_event", report.Bytes, report.Neither, float64(bytes)/float64(d.events))
	return nil
}

func makeUp(n int) ([]string, error) {
	profile, err := loadgen.Builtin("web-shop")
	if err != nil {
		return nil, err
	}
	profile.Shape = loadgen.Constant(float64(n) / 600) // ten minutes' worth
	profile.Faults = loadgen.Faults{}
	g, err := loadgen.New(profile, 1, time.Now().Add(-10*time.Minute))
	if err != nil {
		return nil, err
	}
	payloads := make([]string, n)
	for i := range payloads {
		item, _ := g.Next(nil)
		payloads[i] = string(item.Payload)
	}
	return payloads, nil
}

func (d *drainage) run(ctx context.Context, n int) error {
	rates := map[string]float64{}
	measure := func(name string, what func(context.Context) (float64, error)) error {
		d.status("run %d of %d: %s", n+1, d.runs, name)
		perSecond, err := what(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		rates[name] = perSecond
		d.Add(name, report.EventsPerSecond, report.More, perSecond)
		return nil
	}
	if err := measure("events_per_second", func(ctx context.Context) (float64, error) { return d.drain(ctx, d.startProcess) }); err != nil {
		return err
	}
	if err := measure("raw_copy_events_per_second", func(ctx context.Context) (float64, error) { return d.rawCopy(ctx, 1) }); err != nil {
		return err
	}
	if err := measure("raw_copy_two_connections_events_per_second", func(ctx context.Context) (float64, error) { return d.rawCopy(ctx, 2) }); err != nil {
		return err
	}
	if err := measure("xadd_events_per_second", d.addAlone); err != nil {
		return err
	}
	if err := measure("xread_events_per_second", d.readAlone); err != nil {
		return err
	}
	if err := measure("xreadgroup_events_per_second", d.readGroupAlone); err != nil {
		return err
	}
	drained := rates["events_per_second"]
	for _, alone := range []string{"raw_copy", "raw_copy_two_connections", "xadd", "xread", "xreadgroup"} {
		d.Add("ratio_to_"+alone, report.Ratio, report.More, drained/rates[alone+"_events_per_second"])
	}
	d.say("run %d: drain %s, raw COPY %s, ratio %.2f", n+1, report.EventsPerSecond.Format(drained),
		report.EventsPerSecond.Format(rates["raw_copy_events_per_second"]), drained/rates["raw_copy_events_per_second"])
	if d.cost {
		return d.measureCost(ctx)
	}
	return nil
}

// drain returns the rate at which a backlog is drained by the consumer that start
// starts, and checks what was stored.
func (d *drainage) drain(ctx context.Context, start func(context.Context, *harness.Sandbox) (drainer, error)) (perSecond float64, err error) {
	box, err := d.servers.Sandbox(ctx, "drain")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, box.Close(context.WithoutCancel(ctx))) }()
	if _, err := migrations.Up(ctx, box.PostgresURL); err != nil {
		return 0, err
	}
	queue, err := redisclient.New(redisclient.Config{URL: box.RedisURL})
	if err != nil {
		return 0, err
	}
	defer queue.Close()
	pool, err := pgxpool.New(ctx, box.PostgresURL)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	if err := rig.LearnVersions(ctx, &d.Versions, queue, pool); err != nil {
		return 0, err
	}

	// The consumer is there and paused while the backlog builds up, so that what is
	// timed is draining, not starting a process.
	c, err := start(ctx, box)
	if err != nil {
		return 0, err
	}
	defer c.kill()
	operator, err := control.NewClientWithResponses(c.url)
	if err != nil {
		return 0, err
	}
	if _, err := client.Answer(operator.PauseWithResponse(ctx)); err != nil {
		return 0, err
	}
	if err := shorten(ctx, queue); err != nil {
		return 0, err
	}
	if err := fill(ctx, queue, box.StreamName, d.payloads); err != nil {
		return 0, fmt.Errorf("fill the stream: %w", err)
	}
	if err := written(ctx, queue); err != nil { // a stream of millions is long enough for that by itself
		return 0, err
	}
	if err := checkpoint(ctx, box.PostgresURL); err != nil {
		return 0, err
	}
	begin := time.Now()
	if _, err := client.Answer(operator.ResumeWithResponse(ctx)); err != nil {
		return 0, err
	}
	go c.resumed()
	err = waitDrained(ctx, queue, box.StreamName, c, stuck)
	elapsed := time.Since(begin)
	if err != nil {
		return 0, err
	}
	if c.used != nil {
		c.used()
	}
	stopping, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := c.stop(stopping); err != nil {
		return 0, err
	}
	return float64(len(d.payloads)) / elapsed.Seconds(), d.check(ctx, pool, box, c.counted)
}

// check compares every id, and the rollups with the rows.
func (d *drainage) check(ctx context.Context, pool *pgxpool.Pool, box *harness.Sandbox, counted bool) error {
	d.status("comparing every id, and the rollups with the rows")
	ids := make([][16]byte, len(d.rows))
	for i := range d.rows {
		ids[i] = d.rows[i].ID
	}
	letters, dead, err := rig.DeadLetters(ctx, pool)
	if err != nil {
		return err
	}
	rows, err := pool.Query(ctx, `SELECT id FROM events`)
	if err != nil {
		return fmt.Errorf("read the ids: %w", err)
	}
	c, err := rig.Compare(rows, ids, dead)
	if err != nil {
		return err
	}
	c.DeadLettered, c.RollupsEqual = letters, true
	if counted {
		settings := []string{"REDIS_URL=" + box.RedisURL, "POSTGRES_URL=" + box.PostgresURL}
		if c.RollupsEqual, err = rig.RollupsEqual(ctx, filepath.Join(string(d.binaries), "weir-consumer"), settings, pool); err != nil {
			return err
		}
	}
	d.Count(c)
	return nil
}

// fillSize is how many XADD go in one pipeline: more bring nothing.
const fillSize = 500

func fill(ctx context.Context, queue redis.UniversalClient, stream string, payloads []string) error {
	for len(payloads) > 0 {
		n := min(fillSize, len(payloads))
		_, err := queue.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, payload := range payloads[:n] {
				p.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: []any{event.Field, payload}})
			}
			return nil
		})
		if err != nil {
			return err
		}
		payloads = payloads[n:]
	}
	return nil
}

// stuck is how long a backlog may stay as it is. A consumer that cannot write, as its
// database is away or its disk full, tries again for ever.
const stuck = 30 * time.Second

// waitDrained returns when the group has acknowledged everything, and gives up when the
// consumer has taken and acknowledged nothing for as long as patience says.
func waitDrained(ctx context.Context, queue redis.UniversalClient, stream string, c drainer, patience time.Duration) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	left, changed := int64(-1), time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ended:
			return fmt.Errorf("the consumer ended by itself; it said:\n%s", c.said())
		case <-tick.C:
		}
		groups, err := queue.XInfoGroups(ctx, stream).Result()
		if err != nil {
			return err
		}
		if len(groups) == 1 && groups[0].Lag == 0 && groups[0].Pending == 0 && groups[0].EntriesRead > 0 {
			return nil
		}
		now := int64(0)
		for _, g := range groups {
			now += g.Lag + g.Pending
		}
		if now != left {
			left, changed = now, time.Now()
		} else if time.Since(changed) > patience {
			return fmt.Errorf("the backlog has not changed for %v, %d entries are left; the consumer says:\n%s", patience, left, c.said())
		}
	}
}
