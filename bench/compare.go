package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"weir/bench/internal/report"
)

// compareCommand is the comparison of two reports.
func compareCommand(flags *flag.FlagSet) func(context.Context, io.Writer) error {
	threshold := flags.Float64("threshold", 0.05, "a figure that is worse by more than this share, beyond noise, is an error")
	certain := flags.Bool("certain", false, "what is worse in fewer than four runs of either report, which may be chance, is no error")
	return func(_ context.Context, out io.Writer) error {
		if flags.NArg() != 2 || *threshold < 0 {
			return wrongUsage("give two reports: compare [-threshold 0.05] [-certain] OLD NEW")
		}
		before, err := report.Read(flags.Arg(0))
		if err != nil {
			return wrongUsage("%w", err)
		}
		after, err := report.Read(flags.Arg(1))
		if err != nil {
			return wrongUsage("%w", err)
		}
		c, err := report.Compare(before, after, *threshold)
		if err != nil {
			return wrongUsage("%w", err)
		}
		if err := c.WriteTable(out); err != nil {
			return err
		}
		problems := c.Problems
		sure, perhaps := c.Worse()
		if *certain {
			perhaps = 0
		}
		if n := sure + perhaps; n > 0 {
			problems = append(problems, fmt.Sprintf("%d figures are worse by more than %s, of %d of which chance is excluded.", n, report.Share.Format(*threshold), sure))
		}
		if len(problems) > 0 {
			return errors.New(strings.Join(problems, " "))
		}
		return nil
	}
}
