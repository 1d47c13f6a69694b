package consumer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/consumer/internal/audit"
	"weir/services/shared/config"
	"weir/services/shared/pgpool"
	"weir/services/shared/process"
)

// ErrRollupsDiffer is what verify ends with when the rollups are not what the raw
// rows give.
var ErrRollupsDiffer = errors.New("the rollups differ from the raw rows; `weir-consumer rebuild` mends them")

// Commands are what weir-consumer can do besides consuming.
func Commands() []process.Subcommand[Config] {
	return []process.Subcommand[Config]{
		{Name: "verify", Help: "compare the rollups with the raw rows: --from T --to T, full hours (UTC)", Run: runVerify},
		{Name: "rebuild", Help: "recompute the rollups from the raw rows: --from D --to D, whole days (UTC); events may flow", Run: runRebuild},
		process.Health(func(c Config) (config.Base, int) { return c.Base, c.Port }),
	}
}

// mostShown bounds verify's table; all differences are counted.
const mostShown = 100

func runVerify(ctx context.Context, c Config, args []string, stdout io.Writer) error {
	span, err := readSpan("verify", args, nil)
	if err != nil {
		return err
	}
	return withPool(ctx, c, func(pool *pgxpool.Pool) error {
		kept, err := audit.Kept(ctx, pool, span)
		if err != nil {
			return spanFault(err)
		}
		if kept != span && kept.From.Before(kept.To) {
			fmt.Fprintf(stdout, "Compared from %s on: retention has dropped events from before.\n", kept.From.Format(time.RFC3339))
		}
		table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
		found := 0
		err = audit.Verify(ctx, pool, span, func(d audit.Difference) {
			if found++; found == 1 {
				fmt.Fprintln(table, "GRAIN\tBUCKET\tDIMENSION\tTYPE\tVALUE\tRAW ROWS\tROLLUPS")
			}
			if found <= mostShown {
				fmt.Fprintf(table, "%s\t%s\t%v\t%s\t%q\t%v\t%v\n", d.Grain, d.Bucket.Format(time.RFC3339), d.Key.Dimension,
					d.Key.Type, d.Key.Value, d.Raw, d.Rolled)
			}
		})
		if err := errors.Join(err, table.Flush()); err != nil {
			return spanFault(err)
		}
		if found > mostShown {
			fmt.Fprintf(stdout, "and %d more\n", found-mostShown)
		}
		if found > 0 {
			return fmt.Errorf("%d buckets: %w", found, ErrRollupsDiffer)
		}
		fmt.Fprintln(stdout, "The rollups equal the raw rows.")
		return nil
	})
}

func runRebuild(ctx context.Context, c Config, args []string, stdout io.Writer) error {
	var erase bool
	span, err := readSpan("rebuild", args, func(f *flag.FlagSet) {
		f.BoolVar(&erase, "erase", false, "also empty the rollups of days that have no raw rows, or not all of them (any more)")
	})
	if err != nil {
		return err
	}
	return withPool(ctx, c, func(pool *pgxpool.Pool) error {
		corrected, err := audit.Rebuild(ctx, pool, span, erase)
		fmt.Fprintf(stdout, "%d buckets corrected.\n", corrected)
		if errors.Is(err, audit.ErrNoRaw) {
			return fmt.Errorf("%w; --erase does it all the same", err)
		}
		return spanFault(err)
	})
}

// readSpan reads --from and --to; what is wrong with them is the caller's misuse.
func readSpan(name string, args []string, more func(*flag.FlagSet)) (audit.Span, error) {
	var span audit.Span
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Func("from", "begin, inclusive", readTime(&span.From))
	f.Func("to", "end, exclusive", readTime(&span.To))
	if more != nil {
		more(f)
	}
	if err := f.Parse(args); err != nil {
		return span, config.Faults{err.Error()}
	}
	var faults config.Faults
	if f.NArg() > 0 {
		faults = append(faults, fmt.Sprintf("unexpected argument %q", f.Arg(0)))
	}
	if span.From.IsZero() {
		faults = append(faults, "--from is required")
	}
	if span.To.IsZero() {
		faults = append(faults, "--to is required")
	}
	if len(faults) > 0 {
		return span, faults
	}
	return span, nil
}

func readTime(dst *time.Time) func(string) error {
	return func(s string) error {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if t, err := time.Parse(layout, s); err == nil {
				*dst = t.UTC()
				return nil
			}
		}
		return errors.New("must be a date such as 2026-01-02, or an RFC 3339 time such as 2026-01-02T15:00:00Z")
	}
}

func spanFault(err error) error {
	if errors.Is(err, audit.ErrSpan) || errors.Is(err, audit.ErrSpanDays) {
		return config.Faults{err.Error()}
	}
	return err
}

func withPool(ctx context.Context, c Config, act func(*pgxpool.Pool) error) error {
	c.Postgres.PoolSize = max(c.Postgres.PoolSize, 4) // rebuilding takes three connections
	// By another name than the consumers': theirs may be ended when they are silent.
	pool, err := pgpool.New(ctx, c.Postgres, "consumer-audit")
	if err != nil {
		return err
	}
	defer pool.Close()
	return act(pool)
}
