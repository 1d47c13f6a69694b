// Command bench measures Weir on real servers, for capacity planning. Every run
// checks that each event was stored exactly once; one that fails prints INVALID.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `Usage: go run ./bench <command> [flags]

Commands:
  drain   build a backlog with the consumer stopped, then time how fast it is written

Servers: REDIS_URL and POSTGRES_URL when given, else containers, else binaries found here.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 || os.Args[1] != "drain" {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	o := drainOptions{}
	flags := flag.NewFlagSet("drain", flag.ExitOnError)
	flags.IntVar(&o.events, "events", 1_000_000, "events in the backlog")
	flags.IntVar(&o.copyBatch, "copy-batch", 10_000, "rows of one raw COPY, to compare with")
	flags.StringVar(&o.json, "json", "", "file to write the figures to")
	flags.StringVar(&o.profile, "cpuprofile", "", "file to write the consumer's CPU profile to")
	_ = flags.Parse(os.Args[2:]) // ExitOnError
	if err := drain(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench drain:", err)
		os.Exit(1)
	}
}
