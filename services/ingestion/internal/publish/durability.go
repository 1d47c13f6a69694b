package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Errors of a Redis that cannot say when its entries are on disk.
var (
	ErrNoWaitAOF = errors.New("INGESTION_DURABILITY=fsync needs Redis 7.2 or later, which knows the command WAITAOF: upgrade Redis, or set INGESTION_DURABILITY=memory")
	ErrNoAOF     = errors.New("INGESTION_DURABILITY=fsync needs Redis' append-only file: set appendonly yes in Redis' configuration, or set INGESTION_DURABILITY=memory")
	// ErrNotSynced means that the disk was too slow: the entries may get there yet.
	ErrNotSynced = errors.New("redis did not have the entries on disk in time")
)

// Check reports whether Redis can give the durability that is configured.
func (p *Publisher) Check(ctx context.Context) error {
	if p.durability != fsync {
		return nil
	}
	// Nothing was written on this connection, so there is nothing to wait for.
	synced := waitAOF(ctx)
	_ = p.client.Process(ctx, synced) // synced has the error
	return onDisk(synced)
}

// waitAOF asks Redis to answer once all that its connection wrote is on its own disk.
func waitAOF(ctx context.Context) *redis.IntSliceCmd {
	return redis.NewIntSliceCmd(ctx, "waitaof", 1, 0, fsyncTimeout.Milliseconds())
}

// onDisk reads the answer of WAITAOF: on how many disks the entries are, Redis' own
// and its replicas'.
func onDisk(reply *redis.IntSliceCmd) error {
	counts, err := reply.Result()
	switch {
	case err == nil && len(counts) > 0 && counts[0] >= 1:
		return nil
	case err == nil:
		return ErrNotSynced
	case strings.Contains(err.Error(), "unknown command"):
		return ErrNoWaitAOF
	case strings.Contains(err.Error(), "appendonly is disabled"):
		return ErrNoAOF
	default:
		return fmt.Errorf("wait for the disk: %w", err)
	}
}
