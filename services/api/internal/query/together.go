package query

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// spareTimeout is how long a further connection may take: the question can do without.
const spareTimeout = 250 * time.Millisecond

// AskTogether runs fn as Ask does, with up to n transactions on connections of their
// own that all see the same snapshot, so that fn can read its parts side by side. It
// gives fewer, but one at least, when the pool has no connections to spare.
func (r *Reader) AskTogether(ctx context.Context, n int, fn func(context.Context, []pgx.Tx) error) (time.Time, error) {
	asOf, err := r.read(ctx, func(ctx context.Context, pool *pgxpool.Pool, first pgx.Tx) error {
		var snapshot string
		if err := first.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&snapshot); err != nil {
			return fmt.Errorf("export snapshot: %w", err)
		}
		begin := pgx.TxOptions{BeginQuery: r.begin + "; SET TRANSACTION SNAPSHOT '" + snapshot + "'"}
		txs := []pgx.Tx{first}
		for len(txs) < n {
			conn := spare(ctx, pool)
			if conn == nil {
				break
			}
			defer conn.Release()
			tx, err := conn.BeginTx(ctx, begin)
			if err != nil {
				return err
			}
			// Nothing to commit; without a deadline of its own, as ctx may have ended.
			defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
			txs = append(txs, tx)
		}
		return fn(ctx, txs)
	})
	if err != nil {
		err = r.problem(ctx, err)
	}
	return asOf, err
}

// spare takes a connection if one is left for others besides, and returns nil if not.
// So two questions never wait for each other's second connection.
func spare(ctx context.Context, pool *pgxpool.Pool) *pgxpool.Conn {
	if s := pool.Stat(); s.AcquiredConns()+1 >= s.MaxConns() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, spareTimeout)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil
	}
	return conn
}
