package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
)

// shorten has Redis write its append-only file anew while it holds next to nothing. Else the
// file, to which each part adds, doubles in the middle of some part, which then shares its
// two cores with a copy of Redis that writes it: two drains of three had it.
func shorten(ctx context.Context, queue redis.UniversalClient) error {
	now, err := persistence(ctx, queue)
	if err != nil {
		return err
	}
	if strings.Contains(now, "aof_enabled:1") {
		// One that may not be asked for, as managed services have it, takes care of it itself.
		_ = queue.BgRewriteAOF(ctx).Err()
	}
	return written(ctx, queue)
}

// written waits until Redis does not write its append-only file anew.
func written(ctx context.Context, queue redis.UniversalClient) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := persistence(ctx, queue)
		if err != nil {
			return err
		}
		if !strings.Contains(now, "aof_rewrite_in_progress:1") && !strings.Contains(now, "aof_rewrite_scheduled:1") {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func persistence(ctx context.Context, queue redis.UniversalClient) (string, error) {
	text, err := queue.Info(ctx, "persistence").Result()
	if err != nil {
		return "", fmt.Errorf("ask Redis about its append-only file: %w", err)
	}
	return text, nil
}

// checkpoint has PostgreSQL write all pages that changed, so that no part pays for what
// others changed.
func checkpoint(ctx context.Context, postgresURL string) error {
	conn, err := pgx.Connect(ctx, postgresURL)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "CHECKPOINT")
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42501" { // insufficient_privilege: then it begins as it is
		return nil
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
