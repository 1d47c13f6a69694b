package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"weir/services/consumer/internal/batch"
)

const insertDead = `
INSERT INTO dead_letters (stream, stream_id, payload, stage, reason, attempts, arrived_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::int[], $7::timestamptz[])
ON CONFLICT (stream, stream_id) DO UPDATE SET attempts = dead_letters.attempts + 1`

func insertDeadLetters(ctx context.Context, tx pgx.Tx, dead []batch.DeadLetter) error {
	dead = once(dead)
	if len(dead) == 0 {
		return nil
	}
	n := len(dead)
	streams, ids, payloads := make([]string, n), make([]string, n), make([][]byte, n)
	stages, reasons, attempts, arrived := make([]string, n), make([]string, n), make([]int32, n), make([]time.Time, n)
	for i, d := range dead {
		streams[i], ids[i], payloads[i] = d.Stream, d.Entry.ID, []byte(d.Entry.Payload)
		stages[i], reasons[i], attempts[i], arrived[i] = string(d.Stage), d.Reason, 1, d.Entry.Time()
	}
	if _, err := tx.Exec(ctx, insertDead, streams, ids, payloads, stages, reasons, attempts, arrived); err != nil {
		return fmt.Errorf("insert dead letters: %w", err)
	}
	return nil
}

// once makes reasons storable, drops what is there twice, and keeps the order of arrival: two chunks of a batch
// may overlap, as after a long wait, when a consumer takes over what it holds itself;
// and one statement may touch a row only once.
func once(dead []batch.DeadLetter) []batch.DeadLetter {
	type entry struct{ stream, id string }
	seen := make(map[entry]bool, len(dead))
	var kept []batch.DeadLetter
	for _, d := range dead {
		if e := (entry{d.Stream, d.Entry.ID}); !seen[e] {
			seen[e] = true
			d.Reason = storable(d.Reason)
			kept = append(kept, d)
		}
	}
	return kept
}

// storable makes any text one that PostgreSQL keeps: a reason may quote what
// strangers sent, and must never be a reason to refuse the dead letter.
func storable(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", `\u0000`), "\uFFFD")
}
