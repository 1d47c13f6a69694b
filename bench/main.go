// Command bench measures Weir on real servers, for capacity planning: what a machine
// carries, how it behaves past that, and how many are needed. Every run checks that no
// event is missing and none is there twice; one that fails this says INVALID and exits
// with 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"
)

// command is one thing that bench does: it registers its flags and returns what runs
// once they are parsed.
type command struct {
	name, about string
	setUp       func(*flag.FlagSet) func(context.Context, io.Writer) error
}

// options are a command's flags.
type options interface{ register(*flag.FlagSet) }

// measuring makes a command of its options and the function that measures.
func measuring[O any, P interface {
	*O
	options
}](name, about string, measure func(context.Context, *flag.FlagSet, O, io.Writer) error) command {
	return command{name, about, func(flags *flag.FlagSet) func(context.Context, io.Writer) error {
		var o O
		P(&o).register(flags)
		return func(ctx context.Context, out io.Writer) error { return measure(ctx, flags, o, out) }
	}}
}

var commands = []command{
	measuring("drain", "build a backlog, then time how fast it is written, beside raw COPY and Redis alone", drain),
	measuring("sweep", "offer one rate after the other: latency, backlog, refusals, and what every process uses", sweep),
	measuring("capacity", "find the highest rate that goes on, and name what limits it", capacity),
	measuring("overload", "offer several times the capacity, then half: refusals, latency, recovery, memory", overload),
	measuring("soak", "offer one rate for long, with faults if asked for, and look for what drifts", soak),
	measuring("query", "load events and ask the api its questions while more flow", query),
	measuring("live", "have many clients listen to the live feed while events flow", live),
	measuring("generate", "time making events up, on one core, without sending them", generate),
	measuring("publish", "time the generator publishing to Redis, and how exactly it keeps to a rate", publish),
	measuring("collect", "time the collector taking events over HTTP, in batches and one by one", collect),
	measuring("plan", "say what a rate needs, by what was measured: consumers, cores, memory, disk", plan),
	{"compare", "compare two reports: compare [-threshold 0.05] OLD NEW", compareCommand},
}

func usage(out io.Writer) {
	fmt.Fprint(out, "Usage: go run ./bench <command> [flags]\n\nCommands:\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range commands {
		fmt.Fprintf(w, "  %s\t%s\n", c.name, c.about)
	}
	_ = w.Flush()
	fmt.Fprint(out, `
Each explains its flags with -h. Servers: REDIS_URL and POSTGRES_URL when given, else
containers, else binaries found here. Exit codes: 0; 1 when a run, or the new one of a
comparison, is INVALID or partial, or a comparison finds something worse, with -certain only
if four runs or more in each report tell it from chance; 2 for wrong usage.
`)
}

// run is the command line. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return 2
	}
	if args[0] == audienceCommand && os.Getenv(audienceVariable) != "" {
		if err := sit(ctx, args[1:], os.Stdin, stdout); err != nil {
			fmt.Fprintf(stderr, "bench %s: %v\n", audienceCommand, err)
			return 1
		}
		return 0
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
		flags.SetOutput(stderr)
		act := c.setUp(flags)
		flags.Usage = func() {
			fmt.Fprintf(stderr, "bench %s: %s\n", c.name, c.about)
			flags.PrintDefaults()
		}
		switch err := flags.Parse(args[1:]); {
		case errors.Is(err, flag.ErrHelp):
			return 0
		case err != nil:
			return 2
		}
		if err := act(ctx, stdout); err != nil {
			fmt.Fprintf(stderr, "bench %s: %v\n", c.name, err)
			var wrong misuse
			if errors.As(err, &wrong) {
				return 2
			}
			return 1
		}
		return 0
	}
	if args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		usage(stdout)
		return 0
	}
	usage(stderr)
	return 2
}

// misuse is an error in what was asked for.
type misuse struct{ error }

func wrongUsage(format string, args ...any) error { return misuse{fmt.Errorf(format, args...)} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		// A second Ctrl-C does not wait for what the first began; but some senders signal
		// the process and then its group, which is meant once.
		time.Sleep(2 * time.Second)
		stop()
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
