package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"weir/e2e/harness"
	"weir/loadgen"
	"weir/migrations"
	"weir/services/shared/event"
)

type drainOptions struct {
	events, copyBatch, runs int
	cost                    bool
	json, profile           string
}

// figures is what a drain measured. Rates are events per second, medians of the runs.
type figures struct {
	Schema         int     `json:"schema_version"`
	Command        string  `json:"command"`
	Machine        machine `json:"machine"`
	Servers        string  `json:"servers"`
	Events         int     `json:"events"`
	BytesPerEvent  int     `json:"bytes_per_event"`
	EventsPerSec   float64 `json:"events_per_second"`
	RawCopy        float64 `json:"raw_copy_events_per_second"`
	Ratio          float64 `json:"ratio_to_raw_copy"` // median of each run's own
	PublishPerSec  float64 `json:"publish_events_per_second"`
	Lost           int64   `json:"lost"`       // of all runs
	Duplicated     int64   `json:"duplicated"` // of all runs
	RollupsEqual   bool    `json:"rollups_equal_raw"`
	ConsumerMaxRSS int64   `json:"consumer_max_rss_bytes"`
	ConsumerCPU    float64 `json:"consumer_cpu_seconds"`        // of a run
	RollupCost     float64 `json:"rollup_cost_share,omitempty"` // share of the time that rollups take; only with -rollup-cost
	Runs           struct {
		EventsPerSec rate `json:"events_per_second"`
		RawCopy      rate `json:"raw_copy_events_per_second"`
		Ratio        rate `json:"ratio_to_raw_copy"`
		RollupCost   rate `json:"rollup_cost_share"`
	} `json:"runs"`
}

// drain fills a stream while no consumer runs, times a consumer emptying it, and
// times raw COPY of the same rows into the same schema in the same run.
func drain(ctx context.Context, o drainOptions, out io.Writer) (err error) {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	servers, err := harness.Start(ctx, harness.Options{Log: say, Direct: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	say("servers: %s", servers.Chosen)
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binaries, err := harness.Build(ctx, dir)
	if err != nil {
		return err
	}

	f := figures{Schema: 1, Command: "drain", Machine: thisMachine(), Servers: servers.Chosen, Events: o.events, RollupsEqual: true}
	payloads, err := makeUp(o.events)
	if err != nil {
		return err
	}
	for _, p := range payloads {
		f.BytesPerEvent += len(p)
	}
	f.BytesPerEvent /= len(payloads)

	process := func(ctx context.Context, box *harness.Sandbox) (drainer, error) {
		return startProcess(ctx, binaries, box, o.profile, say)
	}
	for run := range o.runs {
		raw, err := rawCopy(ctx, servers, payloads, o.copyBatch)
		if err != nil {
			return fmt.Errorf("raw COPY: %w", err)
		}
		drained, err := measureDrain(ctx, servers, process, payloads, &f)
		if err != nil {
			return err
		}
		f.Runs.RawCopy.add(raw)
		f.Runs.EventsPerSec.add(drained)
		f.Runs.Ratio.add(drained / raw)
		say("run %d: drain %.0f events/s, raw COPY %.0f, ratio %.2f", run+1, drained, raw, drained/raw)
		if o.cost {
			if err := measureCost(ctx, servers, payloads, &f, say); err != nil {
				return err
			}
		}
	}
	f.EventsPerSec, f.RawCopy, f.Ratio, f.RollupCost = f.Runs.EventsPerSec.Median, f.Runs.RawCopy.Median, f.Runs.Ratio.Median, f.Runs.RollupCost.Median

	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\ndrain, %d events of %d bytes\t%.0f events/s\t%s\n", f.Events, f.BytesPerEvent, f.EventsPerSec, f.Runs.EventsPerSec.span("%.0f"))
	fmt.Fprintf(w, "raw COPY, one connection, batches of %d\t%.0f events/s\t%s\n", o.copyBatch, f.RawCopy, f.Runs.RawCopy.span("%.0f"))
	fmt.Fprintf(w, "ratio\t%.2f\t%s\n", f.Ratio, f.Runs.Ratio.span("%.2f"))
	if o.cost {
		fmt.Fprintf(w, "rollups' share of the drain\t%.0f%%\t%s\n", 100*f.RollupCost, f.Runs.RollupCost.span("%.2f"))
	}
	fmt.Fprintf(w, "publish, pipelined XADD\t%.0f events/s\t\nlost / duplicated\t%d / %d\t\nrollups equal raw rows\t%v\t\nconsumer's memory, most\t%.0f MiB\t\nconsumer's CPU\t%.2f µs an event\t\n",
		f.PublishPerSec, f.Lost, f.Duplicated, f.RollupsEqual, float64(f.ConsumerMaxRSS)/(1<<20), f.ConsumerCPU*1e6/float64(f.Events))
	if err := w.Flush(); err != nil {
		return err
	}
	if err := writeFigures(o.json, f); err != nil {
		return err
	}
	if f.Lost != 0 || f.Duplicated != 0 || !f.RollupsEqual {
		return errors.New("INVALID: the events stored are not the events published")
	}
	return nil
}

// makeUp makes n valid, different events of the built-in web shop, spread over
// the past hour or so like live traffic.
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

// drainer is a consumer that drains. stop notes what it used.
type drainer struct {
	url     string // of its API
	resumed func() // may run beside the draining
	stop    func(context.Context, *figures) error
	ended   <-chan struct{}
	counted bool
}

// startProcess starts the consumer as users run it.
func startProcess(ctx context.Context, binaries harness.Binaries, box *harness.Sandbox, profile string, say func(string, ...any)) (drainer, error) {
	p, err := binaries.Start(ctx, "weir-consumer", []string{
		"REDIS_URL=" + box.RedisURL, "POSTGRES_URL=" + box.PostgresURL, "STREAM_NAME=" + box.StreamName,
		"CONSUMER_PORT=0", "CONSUMER_NAME=bench", "PPROF=true",
	}, io.Discard)
	if err != nil {
		return drainer{}, err
	}
	resumed := func() {}
	if profile != "" {
		resumed = func() {
			if err := fetch(ctx, p.URL+"/debug/pprof/profile?seconds=4", profile); err != nil {
				say("no profile: %v", err)
			}
		}
	}
	return drainer{url: p.URL, resumed: resumed, ended: p.Exited(), counted: true, stop: func(ctx context.Context, f *figures) error {
		defer p.Kill()
		rss, cpu := processUsage(p.PID())
		f.ConsumerMaxRSS, f.ConsumerCPU = max(f.ConsumerMaxRSS, rss), cpu
		return p.Stop(ctx)
	}}, nil
}

// measureDrain returns the rate at which a backlog is drained by the consumer that
// start starts, and checks what was stored.
func measureDrain(ctx context.Context, servers *harness.Servers, start func(context.Context, *harness.Sandbox) (drainer, error), payloads []string, f *figures) (perSecond float64, err error) {
	box, err := servers.Sandbox(ctx, "drain")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, box.Close(context.WithoutCancel(ctx))) }()
	if _, err := migrations.Up(ctx, box.PostgresURL); err != nil {
		return 0, err
	}
	options, err := redis.ParseURL(box.RedisURL)
	if err != nil {
		return 0, err
	}
	client := redis.NewClient(options)
	defer client.Close()
	conn, err := pgx.Connect(ctx, box.PostgresURL)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	// The consumer is there and paused while the backlog builds up, so that what is
	// timed is draining, not starting a process.
	c, err := start(ctx, box)
	if err != nil {
		return 0, err
	}
	stopped := false
	stop := func() error {
		stopped = true
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return c.stop(stopping, f)
	}
	defer func() {
		if !stopped {
			err = errors.Join(err, stop())
		}
	}()
	if err := post(ctx, c.url+"/v1/pause"); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := fill(ctx, client, box.StreamName, payloads); err != nil {
		return 0, fmt.Errorf("fill the stream: %w", err)
	}
	f.PublishPerSec = float64(len(payloads)) / time.Since(begin).Seconds()

	begin = time.Now()
	if err := post(ctx, c.url+"/v1/resume"); err != nil {
		return 0, err
	}
	go c.resumed()
	err = waitDrained(ctx, client, box.StreamName, c.ended)
	elapsed := time.Since(begin)
	if err := errors.Join(err, stop()); err != nil {
		return 0, err
	}

	var rows, distinct, minutes, hours, days int64
	err = conn.QueryRow(ctx, `SELECT count(*), count(DISTINCT id),
		(SELECT coalesce(sum(events), 0)::bigint FROM minutes WHERE dimension = 0),
		(SELECT coalesce(sum(events), 0)::bigint FROM hours WHERE dimension = 0),
		(SELECT coalesce(sum(events), 0)::bigint FROM days WHERE dimension = 0)
		FROM events`).Scan(&rows, &distinct, &minutes, &hours, &days)
	if err != nil {
		return 0, err
	}
	f.Lost, f.Duplicated = f.Lost+int64(len(payloads))-distinct, f.Duplicated+rows-distinct
	if c.counted {
		f.RollupsEqual = f.RollupsEqual && minutes == rows && hours == rows && days == rows
	}
	return float64(len(payloads)) / elapsed.Seconds(), nil
}

func fill(ctx context.Context, client *redis.Client, stream string, payloads []string) error {
	const size = 500
	for len(payloads) > 0 {
		n := min(size, len(payloads))
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
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

// waitDrained returns when the group has acknowledged everything.
func waitDrained(ctx context.Context, client *redis.Client, stream string, ended <-chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return errors.New("the consumer ended by itself")
		case <-tick.C:
		}
		groups, err := client.XInfoGroups(ctx, stream).Result()
		if err != nil {
			return err
		}
		if len(groups) == 1 && groups[0].Lag == 0 && groups[0].Pending == 0 && groups[0].EntriesRead > 0 {
			return nil
		}
	}
}

// rawCopy copies the same rows into the same schema, by one connection.
func rawCopy(ctx context.Context, servers *harness.Servers, payloads []string, size int) (rate float64, err error) {
	box, err := servers.Sandbox(ctx, "copy")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, box.Close(context.WithoutCancel(ctx))) }()
	if _, err := migrations.Up(ctx, box.PostgresURL); err != nil {
		return 0, err
	}
	conn, err := pgx.Connect(ctx, box.PostgresURL)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	events := make([]event.Event, len(payloads))
	for i, p := range payloads {
		if invalid := events[i].Parse(p); invalid != nil {
			return 0, invalid
		}
	}
	columns := []string{"id", "time", "type", "source", "user_id", "anonymous_id", "session_id", "path", "referrer", "country", "device", "browser", "os", "value", "currency", "properties"}
	row := make([]any, len(columns))
	start := time.Now()
	for lo := 0; lo < len(events); lo += size {
		i, hi := lo, min(lo+size, len(events))
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"events"}, columns, pgx.CopyFromFunc(func() ([]any, error) {
			if i == hi {
				return nil, nil
			}
			fillRow(row, &events[i])
			i++
			return row, nil
		}))
		if err != nil {
			return 0, err
		}
	}
	return float64(len(events)) / time.Since(start).Seconds(), nil
}

func fillRow(row []any, e *event.Event) {
	row[0], row[1], row[2], row[3] = [16]byte(e.ID), e.Time, e.Type, e.Source
	for i, s := range []string{e.UserID, e.AnonymousID, e.SessionID, e.Path, e.Referrer, e.Country, e.Device, e.Browser, e.OS} {
		row[4+i] = orNull(s)
	}
	row[13], row[14], row[15] = nil, orNull(e.Currency), nil
	if e.HasValue {
		row[13] = float64(e.Value) / event.Micro
	}
	if e.Properties != "" {
		row[15] = []byte(e.Properties)
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// processUsage reads a process's peak memory in bytes and CPU time in seconds from /proc;
// zeros where there is none.
func processUsage(pid int) (rss int64, cpu float64) {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			rss = kib << 10
		}
	}
	stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(stat), ") ")
	if fields := strings.Fields(rest); len(fields) > 12 {
		user, _ := strconv.ParseFloat(fields[11], 64)
		system, _ := strconv.ParseFloat(fields[12], 64)
		cpu = (user + system) / 100 // clock ticks, 100 a second on Linux
	}
	return rss, cpu
}

func fetch(ctx context.Context, url, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, response.Body)
	return errors.Join(err, f.Close())
}

func post(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}
