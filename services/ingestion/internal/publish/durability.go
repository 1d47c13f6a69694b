package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"weir/services/shared/redisclient"
)

// Errors of a Redis that cannot say when its entries are on disk.
var (
	ErrNoWaitAOF = errors.New("INGESTION_DURABILITY=fsync needs Redis 7.2 or later, which knows the command WAITAOF: upgrade Redis, or set INGESTION_DURABILITY=memory")
	ErrNoAOF     = errors.New("INGESTION_DURABILITY=fsync needs Redis' append-only file: set appendonly yes in Redis' configuration, or set INGESTION_DURABILITY=memory")
	// ErrNotSynced means that the disk was too slow: the entries may get there yet.
	ErrNotSynced = errors.New("redis did not have the entries on disk in time")
	// ErrNotReplicated means that no replica was there, or fast enough; it may get the
	// entries yet.
	ErrNotReplicated = errors.New("no replica of Redis had the entries in time")
)

// Check reports whether Redis, each server of it, can give the durability that is
// configured. That a replica is there is no such thing: it comes and goes.
func (p *Publisher) Check(ctx context.Context) error {
	if p.durability != fsync {
		return nil
	}
	return redisclient.Each(ctx, p.client, func(ctx context.Context, node redis.UniversalClient) error {
		// Nothing was written on this connection, so there is nothing to wait for.
		synced := p.confirmation(ctx)
		_ = node.Process(ctx, synced) // synced has the error
		return confirmed(synced)
	})
}

// confirmation asks Redis to answer once all that its connection wrote is on its own
// disk, or at a replica.
func (p *Publisher) confirmation(ctx context.Context) redis.Cmder {
	if p.durability == replica {
		return redis.NewIntCmd(ctx, "wait", 1, confirmTimeout.Milliseconds())
	}
	return redis.NewIntSliceCmd(ctx, "waitaof", 1, 0, confirmTimeout.Milliseconds())
}

// confirmed reads the answer: how many replicas have the entries, or on how many disks
// they are, Redis' own and its replicas'.
func confirmed(reply redis.Cmder) error {
	err := reply.Err()
	if err != nil {
		switch {
		case strings.Contains(err.Error(), "unknown command"):
			return ErrNoWaitAOF
		case strings.Contains(err.Error(), "appendonly is disabled"):
			return ErrNoAOF
		default:
			return fmt.Errorf("wait for the confirmation: %w", err)
		}
	}
	switch r := reply.(type) {
	case *redis.IntCmd:
		if r.Val() < 1 {
			return ErrNotReplicated
		}
	case *redis.IntSliceCmd:
		if len(r.Val()) == 0 || r.Val()[0] < 1 {
			return ErrNotSynced
		}
	}
	return nil
}
