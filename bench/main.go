// Command bench measures Weir on real servers, for capacity planning. Every run
// checks that no event is missing and none is there twice; one that fails prints INVALID.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = `Usage: go run ./bench <command> [flags]

Commands:
  drain     build a backlog with the consumer stopped, then time how fast it is written
  generate  time making events up, on one core, without sending them
  publish   time the generator publishing to Redis, and how exactly it keeps to a rate
  collect   time the collector taking events over HTTP, in batches and one by one

Each explains its flags with -h. Servers: REDIS_URL and POSTGRES_URL when given, else
containers, else binaries found here.
`

// commands parse their flags and run.
var commands = map[string]func(ctx context.Context, flags *flag.FlagSet, args []string) error{
	"drain": func(ctx context.Context, flags *flag.FlagSet, args []string) error {
		o := drainOptions{}
		flags.IntVar(&o.events, "events", 1_000_000, "events in the backlog")
		flags.IntVar(&o.runs, "runs", 3, "runs; the median counts")
		flags.BoolVar(&o.cost, "rollup-cost", false, "also measure what rollups cost, by draining with and without them")
		flags.IntVar(&o.copyBatch, "copy-batch", 10_000, "rows of one raw COPY, to compare with")
		flags.StringVar(&o.json, "json", "", "file to write the figures to")
		flags.StringVar(&o.profile, "cpuprofile", "", "file to write the consumer's CPU profile to")
		_ = flags.Parse(args) // ExitOnError
		return drain(ctx, o, os.Stdout)
	},
	"generate": func(_ context.Context, flags *flag.FlagSet, args []string) error {
		o := generateOptions{}
		flags.IntVar(&o.events, "events", 2_000_000, "events of one run")
		flags.IntVar(&o.runs, "runs", 5, "runs; the median counts")
		flags.StringVar(&o.json, "json", "", "file to write the figures to")
		_ = flags.Parse(args)
		return generate(o, os.Stdout)
	},
	"publish": func(ctx context.Context, flags *flag.FlagSet, args []string) error {
		o := publishOptions{}
		flags.IntVar(&o.events, "events", 1_000_000, "events of one run")
		flags.IntVar(&o.runs, "runs", 5, "runs; the median counts")
		flags.DurationVar(&o.paced, "paced", 5*time.Second, "how long each rate is held in a run")
		flags.StringVar(&o.json, "json", "", "file to write the figures to")
		flags.StringVar(&o.profile, "cpuprofile", "", "file to write ingestion's CPU profile of the first run to")
		_ = flags.Parse(args)
		return publish(ctx, o, os.Stdout)
	},
	"collect": func(ctx context.Context, flags *flag.FlagSet, args []string) error {
		o := collectOptions{}
		flags.IntVar(&o.events, "events", 300_000, "events of one run in batches")
		flags.IntVar(&o.requests, "requests", 60_000, "requests of one run with single events")
		flags.IntVar(&o.batch, "batch", 100, "events of a batch")
		flags.IntVar(&o.connections, "connections", 64, "clients that send at the same time, each waiting for its answer")
		flags.IntVar(&o.runs, "runs", 5, "runs; the median counts")
		flags.StringVar(&o.json, "json", "", "file to write the figures to")
		flags.StringVar(&o.profile, "cpuprofile", "", "file to write ingestion's CPU profile of the first runs to")
		_ = flags.Parse(args)
		return collect(ctx, o, os.Stdout)
	},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	name := os.Args[1]
	if err := commands[name](ctx, flag.NewFlagSet(name, flag.ExitOnError), os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", name, err)
		os.Exit(1)
	}
}
