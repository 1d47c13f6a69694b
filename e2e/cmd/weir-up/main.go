// Command weir-up runs the whole of Weir on this machine, in one terminal, until
// Ctrl-C: it finds or starts Redis and TimescaleDB, migrates, and runs the three
// services with the generator on.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"weir/services/shared/config"
)

func main() { os.Exit(run()) }

func run() int {
	defer foreground()()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	lookup, err := config.Environment()
	if err == nil {
		err = up(ctx, func(name string) string { v, _ := lookup(name); return v }, newConsole(os.Stdout))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "weir-up:", err)
		return 1
	}
	return 0
}
