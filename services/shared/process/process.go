// Package process is one service's life as an operating-system process:
// arguments, configuration, signals and exit codes.
package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"weir/services/shared/build"
	"weir/services/shared/config"
)

// Exit codes.
const (
	ok      = 0
	failed  = 1
	misused = 2 // wrong arguments or configuration: nothing was started
)

// Subcommand is what a service can do besides running.
type Subcommand[C any] struct {
	Name, Help string
	Optional   []string // required settings that it can do without
	Run        func(ctx context.Context, cfg C, args []string, stdout io.Writer) error
}

// Main runs a service until SIGINT or SIGTERM and returns the exit code: 0 after
// a clean stop, 1 after a failure, 2 when arguments or configuration are wrong.
func Main[C any](name string, run func(context.Context, C) error, subs ...Subcommand[C]) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	act := func(cfg C) error { return run(ctx, cfg) }
	var optional []string
	if len(os.Args) > 1 {
		arg := os.Args[1]
		switch arg {
		case "--version", "-version", "version":
			fmt.Println(name, build.Read())
			return ok
		case "--help", "-help", "-h", "help":
			usage[C](os.Stdout, name, subs)
			return ok
		}
		found := false
		for _, s := range subs {
			if s.Name == arg {
				found, optional = true, s.Optional
				act = func(cfg C) error { return s.Run(ctx, cfg, os.Args[2:], os.Stdout) }
			}
		}
		if !found {
			fmt.Fprintf(os.Stderr, "%s: unknown command %q\n\n", name, arg)
			usage[C](os.Stderr, name, subs)
			return misused
		}
	}

	var cfg C
	lookup, err := config.Environment()
	if err == nil {
		err = config.Load(&cfg, lookup, optional...)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return misused
	}
	if err := act(cfg); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		if config.IsFaults(err) {
			return misused
		}
		return failed
	}
	return ok
}

func usage[C any](w io.Writer, name string, subs []Subcommand[C]) {
	fmt.Fprintf(w, "Usage: %s [command]\n\nWithout a command the service runs until it is told to stop.\n\nCommands:\n", name)
	for _, s := range subs {
		fmt.Fprintf(w, "  %-10s %s\n", s.Name, s.Help)
	}
	fmt.Fprintf(w, "  %-10s %s\n\nSettings, from the environment or a .env file here:\n", "--version", "print the version")
	var cfg C
	for _, s := range config.Describe(cfg) {
		note := s.Default
		if s.Required {
			note = "required"
		}
		fmt.Fprintf(w, "  %-30s %s (%s)\n", s.Name, s.Help, note)
	}
}
