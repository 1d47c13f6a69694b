package store_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/store"
)

func TestOnlyTransactionsThatTheirClientLeftAreEnded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, few := open(t)
	many := few.Config()
	many.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(ctx, many)
	require.NoError(t, err)
	defer pool.Close()
	s := store.Store{Pool: pool, Timeout: 5 * time.Second}

	// One between two statements, one in the middle of a COPY.
	between, err := pool.Begin(ctx)
	require.NoError(t, err)
	_, err = between.Exec(ctx, `INSERT INTO rollup_keys (dimension, type, value) VALUES (0, 'a', '')`)
	require.NoError(t, err)
	copying, err := pool.Acquire(ctx)
	require.NoError(t, err)
	defer copying.Release()
	silent, end := io.Pipe()
	defer end.Close()
	copied := make(chan error, 1)
	go func() {
		_, err := copying.Conn().PgConn().CopyFrom(context.WithoutCancel(ctx), silent, `COPY events FROM STDIN`)
		copied <- err
	}()
	// One that PostgreSQL is at work for, and one that is in no transaction.
	working, err := pool.Acquire(ctx)
	require.NoError(t, err)
	defer working.Release()
	worked := make(chan error, 1)
	wait, err := pool.Begin(ctx)
	require.NoError(t, err)
	_, err = wait.Exec(ctx, `SELECT pg_advisory_lock(1)`)
	require.NoError(t, err)
	go func() {
		_, err := working.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_lock(1)`)
		worked <- err
	}()
	idle, err := pool.Acquire(ctx)
	require.NoError(t, err)
	defer idle.Release()

	ended, err := s.Fence(ctx, time.Hour)
	require.NoError(t, err)
	require.Zero(t, ended, "they may come back")

	_, err = wait.Exec(ctx, `SELECT pg_advisory_unlock(1)`)
	require.NoError(t, err)
	require.NoError(t, wait.Rollback(ctx))
	require.Eventually(t, func() bool {
		n, err := s.Fence(ctx, 50*time.Millisecond)
		ended += n
		return err == nil && ended >= 2
	}, fixture.Patience, 20*time.Millisecond)
	require.EqualValues(t, 2, ended)
	require.ErrorContains(t, <-copied, "57P01")
	require.Error(t, between.Commit(ctx))
	require.NoError(t, <-worked)
	require.NoError(t, idle.Ping(ctx))
}

// A pool may hold sessions from when the server was read-only, as after a failover.
func TestASessionThatStayedReadOnlyIsReplaced(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	for range 2 {
		fixture.Exec(t, pool, `SET default_transaction_read_only = on`)
	}
	r, err := s.Write(t.Context(), series(0, 10))
	require.NoError(t, err)
	require.Equal(t, 10, r.Inserted)
	fixture.RollupsEqualRaw(t, pool)
}
