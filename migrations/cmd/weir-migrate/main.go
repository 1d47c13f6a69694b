// Command weir-migrate moves the database at POSTGRES_URL to the newest schema.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"weir/migrations"
	"weir/services/shared/pgpool"
	"weir/services/shared/process"
)

func main() {
	os.Exit(process.Main("weir-migrate", up,
		process.Subcommand[pgpool.Config]{Name: "up", Help: "apply all pending migrations (the default)",
			Run: func(ctx context.Context, c pgpool.Config, _ []string, _ io.Writer) error { return up(ctx, c) }},
		process.Subcommand[pgpool.Config]{Name: "down", Help: "go back to a version, losing the data in what is dropped: down 0", Run: down}))
}

func up(ctx context.Context, c pgpool.Config) error {
	version, err := migrations.Up(ctx, c.URL)
	if err == nil {
		fmt.Println("The schema is at version", version)
	}
	return err
}

func down(ctx context.Context, c pgpool.Config, args []string, w io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("down needs the version to go back to, such as: down 0")
	}
	to, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return fmt.Errorf("down needs a number, not %q", args[0])
	}
	version, err := migrations.Down(ctx, c.URL, to)
	if err == nil {
		fmt.Fprintln(w, "The schema is at version", version)
	}
	return err
}
