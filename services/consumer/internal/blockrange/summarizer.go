// Package blockrange keeps the block range index of the newest events up to date, so
// that whoever asks for these reads them, and not all that came lately. A function of the
// migrations does it (0014_block_range_map.sql), and says more.
package blockrange

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/shared/retry"
)

// LockKey is the advisory lock of whoever summarizes: "weirbrin" in ASCII.
const LockKey = 0x776569726272696e

// A round comes so often, and rests for so many times as long as it took: with nine times,
// rounds fell behind at 100,000 events/s on two cores. One that had nothing to do looked at each
// chunk for that, which takes 7 ms for a month of days, and longer the more there are.
const (
	every   = time.Second
	restful = 3
	idle    = 20
	seldom  = 10 * time.Second // between two rounds of which the first had nothing to do, at most
	timeout = time.Minute      // after which the connection is taken for dead
)

// Summarizer does the rounds.
type Summarizer struct {
	Pool *pgxpool.Pool
	Log  *slog.Logger
	// GiveWay, if any, is called before each round, and returns when it may begin.
	GiveWay func(context.Context)
}

// Run does a round at every interval until ctx ends; it returns nil then.
func (s *Summarizer) Run(ctx context.Context) error {
	wait := retry.Backoff()
	pause := every
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if s.GiveWay != nil {
			s.GiveWay(ctx)
		}
		start := time.Now()
		ranges, err := s.Round(ctx)
		took := time.Since(start)
		switch {
		case err != nil && ctx.Err() == nil:
			s.Log.Warn("Summarizing the newest events failed, trying again. Until then questions about them are slower.", "error", err)
			pause = max(every, wait.NextBackOff())
		case err == nil:
			wait.Reset()
			pause = rest(ranges, took)
		}
	}
}

// rest is how long to wait after a round that took so long for so many ranges.
func rest(ranges int, took time.Duration) time.Duration {
	if ranges == 0 {
		return max(every, min(idle*took, seldom))
	}
	return max(every, restful*took)
}

// Round summarizes what was filled since the last one, and then what is older, for a second or
// two at most, unless another consumer is at it, and returns how many ranges.
func (s *Summarizer) Round(ctx context.Context) (ranges int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT CASE WHEN pg_try_advisory_xact_lock($1) THEN summarize_newest_events() ELSE 0 END`, int64(LockKey)).Scan(&ranges)
	})
	if err != nil {
		return 0, fmt.Errorf("summarize the newest events: %w", err)
	}
	return ranges, nil
}
