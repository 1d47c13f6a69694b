package ingestion

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"weir/loadgen"
	"weir/services/ingestion/internal/gate"
	"weir/services/ingestion/internal/generator"
	"weir/services/ingestion/internal/progress"
	"weir/services/ingestion/internal/publish"
	"weir/services/ingestion/internal/target"
	"weir/services/shared/config"
	"weir/services/shared/event"
	"weir/services/shared/logging"
	"weir/services/shared/process"
	"weir/services/shared/redisclient"
)

// Commands are what weir-ingestion can do besides running.
func Commands() []process.Subcommand[Config] {
	return []process.Subcommand[Config]{{
		Name: "generate", Help: "send made-up events to a file, the stream or a collector, and tell what must arrive; generate --help lists the flags",
		Optional: []string{"REDIS_URL"},
		Run: func(ctx context.Context, c Config, args []string, stdout io.Writer) error {
			stderr := io.Writer(os.Stderr)
			return generate(ctx, c, args, stdout, stderr, term.IsTerminal(int(os.Stderr.Fd())))
		},
	}, process.Health(func(c Config) (config.Base, int) { return c.Base, c.Port })}
}

// job is what generate is asked to do.
type job struct {
	to, url, key, oracle string
	profile              loadgen.Profile
	seed                 uint64
	start                time.Time
	unpaced              bool
	batch, connections   int
}

// ErrUnsent is what generate ends with when it was interrupted while events were held
// back: its oracle counts them.
var ErrUnsent = errors.New("events were made that were never sent; the totals count them")

// generate runs a profile once. Events go to stdout or a server, the rest to stderr.
func generate(ctx context.Context, c Config, args []string, stdout, stderr io.Writer, terminal bool) error {
	j, err := readJob(c, args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	source, err := loadgen.New(j.profile, j.seed, j.start)
	if err != nil {
		return config.Faults{err.Error()}
	}
	source.Oracle() // counts from now on
	run := &generator.Run{Source: source, Unpaced: j.unpaced, Most: j.batch, Statistics: generator.NewStatistics()}

	// What sends ends after the run: what was handed to it arrives.
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	var group errgroup.Group
	var collector *target.Collector
	switch j.to {
	case "ndjson":
		lines := target.NewNDJSON(stdout)
		run.Lanes, run.Send = 1, lines.Send // in order
	case "http":
		if collector, err = target.NewCollector(j.url, j.key, j.connections); err != nil {
			return config.Faults{"--url " + err.Error()}
		}
		defer collector.Close()
		run.Lanes, run.Send = j.connections, collector.Send
	case "stream":
		log := logging.New(stderr, "generate", c.LogFormat, max(c.LogLevel, slog.LevelWarn))
		client, err := redisclient.New(c.Redis, redisclient.FailFast)
		if err != nil {
			return err
		}
		defer client.Close()
		if err := client.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("connect to Redis: %w", err)
		}
		streams := event.StreamKeys(c.Stream.Name, c.Stream.Partitions)
		watch := gate.New(c.Gate, client, streams, log, prometheus.NewRegistry())
		watch.Measure(ctx)
		publisher := publish.New(c.Publish, client, streams, watch, prometheus.NewRegistry())
		if err := publisher.Check(ctx); err != nil {
			return err
		}
		group.Go(func() error { return watch.Run(sending) })
		group.Go(func() error { return publisher.Run(sending) })
		stream := &generator.Stream{Publisher: publisher, Log: log, Overload: func() string { return generator.Hold }}
		run.Partitions, run.Send = c.Stream.Partitions, stream.Send
	}

	group.Go(func() error {
		progress.Show(sending, stderr, terminal, j.profile.Volume, run.Statistics)
		return nil
	})
	if run.Start = time.Now(); !j.unpaced {
		run.Start = j.start
	}
	err = run.Do(ctx)
	stopSending()
	if err := errors.Join(err, group.Wait()); err != nil {
		return err
	}
	return j.report(stderr, source.Totals(j.seed), run.Statistics.Figures(), collector)
}

// report tells what was sent, and what must be there once all is consumed.
func (j *job) report(w io.Writer, t loadgen.Totals, f generator.Figures, collector *target.Collector) error {
	fmt.Fprintf(w, "profile %s, seed %d, start %s\n", t.Profile, t.Seed, t.Start.Format(time.RFC3339Nano))
	fmt.Fprintf(w, "sent    %d events, %.0f/s", f.Published, f.Mean)
	if !j.unpaced {
		fmt.Fprintf(w, "; %d late; from due to done: p50 %.1f ms, p99 %.1f ms, max %.1f ms", f.Late, f.Response.P50, f.Response.P99, f.Response.Max)
	}
	fmt.Fprintln(w)
	if collector != nil {
		fmt.Fprintf(w, "answers %d accepted, %d rejected; told to wait %d times\n", collector.Accepted.Load(), collector.Rejected.Load(), collector.Waits.Load())
	}
	fmt.Fprintf(w, "oracle  %d to be stored (%d of them late), %d duplicates, %d malformed; %d unique actors, %d sessions; value %s\n",
		t.Stored, t.Items.Late, t.Items.Duplicate, t.Items.Malformed, t.Actors, t.Sessions.Sessions, event.AppendMicros(nil, t.Value))
	if j.oracle != "" {
		text, err := json.MarshalIndent(t, "", " ")
		if err == nil {
			err = os.WriteFile(j.oracle, append(text, '\n'), 0o644) // #nosec G306 -- for whoever may read what is beside it
		}
		if err != nil {
			return fmt.Errorf("write the oracle: %w", err)
		}
	}
	if unsent := f.Offered - f.Published; unsent > 0 {
		return fmt.Errorf("%d %w", unsent, ErrUnsent)
	}
	return nil
}

// readJob reads the flags; what is wrong with them is the caller's misuse.
func readJob(c Config, args []string, stdout io.Writer) (*job, error) {
	j := &job{batch: 500, connections: 4}
	var rate float64
	var count, seed int64
	var duration time.Duration
	var name, startAt string
	var paced, fast bool
	f := flag.NewFlagSet("generate", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&name, "profile", cmp.Or(c.Generator.Profile, "web-shop"), "a built-in `name` ("+strings.Join(loadgen.Names(), ", ")+") or the path of a profile file")
	f.StringVar(&j.to, "to", "", "`where`: ndjson (standard output), stream (Redis, at REDIS_URL) or http (a collector, at --url)")
	f.Float64Var(&rate, "rate", 0, "events per second, instead of the profile's shape")
	f.Int64Var(&count, "count", 0, "events to send, instead of the profile's volume")
	f.DurationVar(&duration, "duration", 0, "how long to send, instead of the profile's volume")
	f.Int64Var(&seed, "seed", c.Generator.Seed, "the same `number` and start give the same events; 0 takes the clock")
	f.StringVar(&startAt, "start", "", "when the run begins, a `time` such as 2026-01-02T15:04:05Z; unpaced only (default: so that it ends now)")
	f.BoolVar(&paced, "paced", false, "ndjson: write events when they are due, not as fast as it goes")
	f.BoolVar(&fast, "fast", false, "stream and http: send as fast as it goes, not when events are due")
	f.StringVar(&j.url, "url", "http://localhost:"+fmt.Sprint(cmp.Or(c.Port, 3002)), "http: `address` of the collector")
	f.StringVar(&j.key, "key", "", "http: write `key`; the source that it stands for replaces the profile's")
	f.IntVar(&j.batch, "batch", j.batch, "most events of one request or round trip")
	f.IntVar(&j.connections, "connections", j.connections, "http: requests under way at once")
	f.StringVar(&j.oracle, "oracle", "", "`file` for all that must be there once everything is consumed, as JSON")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stdout, "Usage: weir-ingestion generate --to ndjson|stream|http [flags]")
		f.SetOutput(stdout)
		f.PrintDefaults()
		return nil, err
	} else if err != nil {
		return nil, config.Faults{err.Error()}
	}

	var faults config.Faults
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	fault(f.NArg() > 0, "unexpected argument %q", f.Arg(0))
	fault(j.to != "ndjson" && j.to != "stream" && j.to != "http", "--to must be ndjson, stream or http")
	fault(j.to == "stream" && c.Redis.URL == "", "REDIS_URL is required for --to stream: address of Redis, redis://[user:password@]host:port[/db]")
	fault(count < 0, "--count must be at least 0")
	fault(duration < 0, "--duration must be at least 0s")
	fault(seed < 0, "--seed must be at least 0")
	fault(rate < 0, "--rate must be at least 0")
	fault(j.batch < 1 || j.batch > 20_000, "--batch must be from 1 to 20000")
	fault(j.connections < 1 || j.connections > 1000, "--connections must be from 1 to 1000")
	fault(paced && j.to != "ndjson", "--paced is for --to ndjson: the others are paced unless --fast")
	fault(fast && j.to == "ndjson", "--fast is for --to stream and http: ndjson is as fast as it goes unless --paced")
	j.unpaced = fast || j.to == "ndjson" && !paced
	if startAt != "" {
		at, err := time.Parse(time.RFC3339Nano, startAt)
		fault(err != nil, "--start must be an RFC 3339 time such as 2026-01-02T15:04:05Z")
		fault(!j.unpaced, "--start is for runs that are not paced: a paced one begins now")
		j.start = at
	}
	p, err := generator.ReadProfile(name)
	if err != nil {
		return nil, append(faults, "--profile "+err.Error())
	}
	if rate > 0 {
		p.Shape = loadgen.Constant(rate)
	}
	if count > 0 || duration > 0 {
		p.Volume = loadgen.Volume{Count: count, Duration: loadgen.Duration(duration)}
	}
	if err := p.Validate(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			faults = append(faults, line)
		}
	}
	fault(j.unpaced && p.Volume == loadgen.Volume{}, "--count or --duration is required: as fast as it goes, it would never end")
	if len(faults) > 0 {
		return nil, faults
	}
	j.profile, j.seed = p, uint64(seed)
	now := time.Now()
	if seed == 0 {
		j.seed = uint64(now.UnixMicro())
	}
	if j.start.IsZero() {
		j.start = now
		if j.unpaced {
			j.start = now.Add(-length(p))
		}
	}
	return j, nil
}

// length estimates how long a run would take if it were paced.
func length(p loadgen.Profile) time.Duration {
	most := time.Duration(p.Volume.Duration)
	if p.Volume.Count == 0 {
		return most
	}
	took := time.Duration(float64(p.Volume.Count) / p.Shape.Rate * float64(time.Second))
	if p.Shape.Form != loadgen.FormConstant {
		pacer := loadgen.NewPacer(p.Shape, loadgen.Even, 0)
		for range min(p.Volume.Count, 1_000_000) { // 10 ms; what is longer ends in the future
			took = pacer.Next()
		}
	}
	if most > 0 {
		took = min(took, most)
	}
	return took
}
