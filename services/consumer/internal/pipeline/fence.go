package pipeline

import (
	"context"
	"time"

	"github.com/sony/gobreaker/v2"
)

// fence ends transactions whose consumer is frozen or cut off, until ctx ends. Their
// entries are about to be taken over, and whoever does would wait for their locks. So
// it looks as often, and is as patient, as those who take over.
func (p *Pipeline) fence(ctx context.Context) error {
	tick := time.NewTicker(p.Config.ClaimEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch n, err := p.Store.Fence(ctx, p.Config.ClaimIdle); {
		case err != nil && ctx.Err() == nil && p.breaker.State() == gobreaker.StateClosed: // else the writers say it
			p.Log.Warn("Looking for abandoned transactions failed, trying again.", "error", err)
		case n > 0:
			p.Log.Warn("Ended transactions that their consumer had abandoned.", "transactions", n)
		}
	}
}
