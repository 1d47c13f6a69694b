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
	threshold := flags.Float64("threshold", 0.05, "a figure that is worse by more than this share, beyond noise, is an error; noise is excluded for figures with four runs or more in both reports only, the others are perhaps worse, which is none")
	return func(_ context.Context, out io.Writer) error {
		if flags.NArg() != 2 || *threshold < 0 {
			return wrongUsage("give two reports: compare [-threshold 0.05] OLD NEW")
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
		if n := c.Worse(); n > 0 {
			problems = append(problems, fmt.Sprintf("%d figures are worse by more than %s.", n, report.Share.Format(*threshold)))
		}
		if len(problems) > 0 {
			return errors.New(strings.Join(problems, " "))
		}
		return nil
	}
}
