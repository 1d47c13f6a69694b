package pipeline

import (
	"context"
	"time"

	"weir/services/consumer/internal/stream"
)

// keep trims a partition and measures its backlog until ctx ends.
func (p *Pipeline) keep(ctx context.Context, i int, g stream.Group) error {
	tick := time.NewTicker(p.Config.TrimEvery)
	defer tick.Stop()
	for {
		trimmed, err := g.Trim(ctx)
		p.metrics.trimmed.Add(float64(trimmed))
		var b stream.Backlog
		if err == nil {
			b, err = g.Backlog(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			p.Log.Warn("Keeping the stream failed, trying again.", "stream", g.Key, "error", err)
		default:
			p.backlogs[i].Store(&b)
			p.metrics.backlog.WithLabelValues(g.Key).Set(float64(b.Events))
			p.metrics.pending.WithLabelValues(g.Key).Set(float64(b.Pending))
			p.metrics.age.WithLabelValues(g.Key).Set(b.Age.Seconds())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
