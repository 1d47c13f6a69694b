// Package retry is how everything in Weir waits for a server that is away.
package retry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Backoff returns the waits between attempts: from 100 ms, doubling, to 5 s, half
// of each random so that clients do not come back in step.
func Backoff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     100 * time.Millisecond,
		RandomizationFactor: 0.5,
		Multiplier:          2,
		MaxInterval:         5 * time.Second,
	}
}

// Connect calls ping until the named server answers or ctx ends, and says so in
// the log either way.
func Connect(ctx context.Context, log *slog.Logger, server string, ping func(context.Context) error) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		return struct{}{}, ping(ctx)
	}, backoff.WithBackOff(Backoff()), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, wait time.Duration) {
		log.Warn(server+" is not available yet, trying again.", "error", err, "wait", wait.String())
	}))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", server, err)
	}
	log.Info(server + " connected successfully.")
	return nil
}
