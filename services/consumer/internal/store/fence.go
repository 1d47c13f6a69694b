package store

import (
	"context"
	"fmt"
	"time"
)

// A session that is in a transaction, waits for its client, and has for so long, has
// lost it: the consumer is frozen, or cut off without a word. PostgreSQL would keep
// the transaction for hours, in the middle of a COPY even past every timeout that can
// be set, and whoever writes the same events waits for its locks.
const endAbandoned = `
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user
  AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()
  AND state IN ('active', 'idle in transaction', 'idle in transaction (aborted)')
  AND wait_event = 'ClientRead' AND state_change < now() - $1::interval`

// Fence ends the transactions of consumers that gave them no sign for silence, and
// returns how many. A consumer that comes back finds its connection closed, and
// writes the batch again as one that may be stored.
func (s *Store) Fence(ctx context.Context, silence time.Duration) (ended int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if err := s.Pool.QueryRow(ctx, endAbandoned, silence).Scan(&ended); err != nil {
		return 0, fmt.Errorf("end abandoned transactions: %w", err)
	}
	return ended, nil
}
