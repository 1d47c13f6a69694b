// Package progress shows how far a run is: a bar on a terminal, plain lines elsewhere.
package progress

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"weir/loadgen"
	"weir/services/ingestion/internal/generator"
)

const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
)

// Show shows the run's progress on w until ctx ends.
func Show(ctx context.Context, w io.Writer, terminal bool, v loadgen.Volume, s *generator.Statistics) {
	if !terminal {
		each(ctx, lineEvery, func(took time.Duration) {
			f := s.Figures()
			fmt.Fprintf(w, "%v: %d events, %.0f/s, %d late, p99 %.1f ms\n",
				took.Round(time.Second), f.Published, f.Rate, f.Late, f.Response.P99)
		})
		return
	}
	total := v.Count
	if total == 0 {
		total = -1 // a spinner, unless there is a duration
		if v.Duration > 0 {
			total = time.Duration(v.Duration).Milliseconds()
		}
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(barEvery),
		progressbar.OptionUseANSICodes(true), progressbar.OptionSetPredictTime(total > 0), progressbar.OptionClearOnFinish(),
	}
	if v.Count > 0 {
		options = append(options, progressbar.OptionShowCount())
	}
	bar := progressbar.NewOptions64(total, options...)
	each(ctx, barEvery, func(took time.Duration) {
		f := s.Figures()
		done := f.Published
		if v.Count == 0 && v.Duration > 0 {
			done = min(took.Milliseconds(), total)
		}
		bar.Describe(fmt.Sprintf("%d events, %.0f/s, %d late", f.Published, f.Mean, f.Late))
		_ = bar.Set64(done)
	})
	_ = bar.Clear()
}

// each calls act regularly until ctx ends.
func each(ctx context.Context, every time.Duration, act func(took time.Duration)) {
	start, tick := time.Now(), time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			act(time.Since(start))
		}
	}
}
