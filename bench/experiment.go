package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	"weir/e2e/harness"
)

// experiment is one run of a command: what it measures goes into the report, which is
// written however the run ends.
type experiment struct {
	*report.Report
	out      io.Writer
	terminal bool
}

// common are the flags of every command that measures.
type common struct {
	json, html string
}

func (c *common) register(flags *flag.FlagSet) {
	flags.StringVar(&c.json, "json", "", "`file` to write the report to, in the form of bench/report.schema.json")
	flags.StringVar(&c.html, "html", "", "`file` to write the report to, as one page with charts")
}

// system are the flags of the commands that run all of Weir.
type system struct {
	common
	consumers, partitions int
	settings              settings

	servers  *harness.Servers // of a test's own; nil: the rig starts them
	binaries harness.Binaries
	patience time.Duration
}

func (s *system) register(flags *flag.FlagSet) {
	s.common.register(flags)
	flags.IntVar(&s.consumers, "consumers", 1, "consumer processes")
	flags.IntVar(&s.partitions, "partitions", 1, "streams that events are spread over")
	flags.Var(&s.settings, "set", "a service's setting, `NAME=VALUE`; may be repeated")
}

// settings are NAME=VALUE.
type settings []string

func (s *settings) String() string { return strings.Join(*s, " ") }

// Set implements flag.Value.
func (s *settings) Set(v string) error {
	if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
		return errors.New("must be NAME=VALUE")
	}
	*s = append(*s, v)
	return nil
}

// conduct runs an experiment, and writes its report whether it went well or not: what
// was measured until an error or a Ctrl-C is kept, and marked as partial.
func conduct(ctx context.Context, flags *flag.FlagSet, c common, out io.Writer, body func(context.Context, *experiment) error) error {
	configuration := map[string]any{}
	flags.VisitAll(func(f *flag.Flag) {
		if value, ok := f.Value.(flag.Getter); ok {
			configuration[f.Name] = fmt.Sprint(value.Get())
		} else {
			configuration[f.Name] = f.Value.String()
		}
	})
	x := &experiment{Report: report.New(flags.Name(), configuration), out: out}
	if file, ok := out.(*os.File); ok {
		x.terminal = term.IsTerminal(int(file.Fd()))
	}
	x.Versions.Built()
	err := body(ctx, x)
	x.Seconds = time.Since(x.StartedAt).Seconds()
	if ctx.Err() != nil {
		err = interrupted(err)
	}
	if err != nil {
		x.Partial = true
		x.Problem("%v", err)
	}
	x.status("")
	err = x.WriteTable(out)
	if c.json != "" {
		err = errors.Join(err, x.WriteJSON(c.json))
	}
	if c.html != "" {
		err = errors.Join(err, x.WriteHTML(c.html))
	}
	return errors.Join(err, x.Err())
}

// interrupted is what a Ctrl-C makes of an error: most are only its consequence. That
// something was not cleaned up is none.
func interrupted(err error) error {
	if errors.Is(err, harness.ErrCleanUp) {
		return fmt.Errorf("interrupted; not everything that was started may be stopped: %w", err)
	}
	return errors.New("interrupted; everything that was started is stopped")
}

// conduct runs an experiment on the system, which it starts and stops; servers that
// vanish end ctx.
func (s system) conduct(ctx context.Context, flags *flag.FlagSet, o rig.Options, out io.Writer, body func(context.Context, *experiment, *rig.Rig) error) error {
	return conduct(ctx, flags, s.common, out, func(ctx context.Context, x *experiment) (err error) {
		r, err := x.start(ctx, s, o)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		ctx, cancel := r.Watch(ctx)
		defer cancel()
		defer r.Charts(x.Report)
		return body(ctx, x, r)
	})
}

// start starts the system. Its close is the caller's, and may find something to report.
func (x *experiment) start(ctx context.Context, s system, o rig.Options) (*rig.Rig, error) {
	o.Name, o.Consumers, o.Partitions, o.Log = x.Command, s.consumers, s.partitions, x.say
	o.Servers, o.Binaries, o.Patience = s.servers, s.binaries, s.patience
	o.Settings = append(o.Settings, s.settings...)
	r, err := rig.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	x.Servers, x.Versions = r.Servers.Chosen, r.Versions
	return r, nil
}

// verify waits until all is written, and checks every event.
func (x *experiment) verify(ctx context.Context, r *rig.Rig) error {
	x.status("waiting until all is written")
	if err := r.Drain(ctx); err != nil {
		return fmt.Errorf("wait until all is written: %w", err)
	}
	x.status("comparing every id, and the rollups with the rows")
	counts, err := r.Verify(ctx)
	if err != nil {
		return fmt.Errorf("check the events: %w", err)
	}
	x.Count(counts)
	return nil
}

// say prints a line of progress.
func (x *experiment) say(format string, args ...any) {
	x.status("")
	fmt.Fprintf(x.out, format+"\n", args...)
}

// status shows what goes on just now, on a terminal only; the next one replaces it.
func (x *experiment) status(format string, args ...any) {
	if x.terminal {
		fmt.Fprintf(x.out, "\r\033[K"+format, args...)
	}
}
