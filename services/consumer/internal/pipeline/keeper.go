package pipeline

import (
	"context"
	"time"

	"weir/services/consumer/internal/stream"
	"weir/services/shared/backlog"
)

// Names of consumers that are gone for good, such as those of replaced containers,
// would pile up in the group.
const (
	forgetIdle  = time.Hour // gave no sign, and has nothing pending
	forgetEvery = time.Minute
)

// keep trims a partition, measures its backlog, and removes idle consumers, until ctx
// ends.
func (p *Pipeline) keep(ctx context.Context, i int, g stream.Group) error {
	tick := time.NewTicker(p.Config.TrimEvery)
	defer tick.Stop()
	forget := time.Now().Add(forgetEvery)
	for {
		trimmed, err := g.Trim(ctx)
		p.metrics.trimmed.Add(float64(trimmed))
		var b backlog.Backlog
		if err == nil {
			b, err = g.Backlog(ctx)
		}
		if err == nil && time.Now().After(forget) {
			forget = time.Now().Add(forgetEvery)
			var names []string
			if names, err = g.Forget(ctx, forgetIdle); len(names) > 0 {
				p.Log.Info("Removed idle consumers that had nothing pending.", "stream", g.Key, "consumers", names)
			}
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
