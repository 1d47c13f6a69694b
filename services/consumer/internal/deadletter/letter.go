// Package deadletter is what operators do with the events that could not be stored:
// look at them, send them again, or throw them away. The rows are written by package
// store, in the transaction of the batch that they came in.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

// Letter is one dead letter.
type Letter struct {
	ID        int64
	Stream    string // where the entry was
	StreamID  string // of the entry
	Stage     string // where it failed: decode, validate or store
	Reason    string
	Attempts  int32     // deliveries that ended here
	ArrivedAt time.Time // when the entry was added to the stream
	CreatedAt time.Time // when it became a dead letter
	Bytes     int64     // size of the payload
	Payload   []byte    // as it came; only Show fills it
}

// Filter chooses dead letters; what is zero does not matter.
type Filter struct {
	Stage    string
	Reason   string // part of it, in any case
	Stream   string
	From, To time.Time // of CreatedAt; To is exclusive
}

// Any reports whether the filter chooses all there are.
func (f Filter) Any() bool { return f == Filter{} }

// where goes with args, which are $1 to $5.
const where = `
WHERE ($1 = '' OR stage = $1) AND ($2 = '' OR strpos(lower(reason), lower($2)) > 0) AND ($3 = '' OR stream = $3)
  AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)`

func (f Filter) args(more ...any) []any {
	instant := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return append([]any{f.Stage, f.Reason, f.Stream, instant(f.From), instant(f.To)}, more...)
}

// Letters are the dead letters of a deployment. It is safe for concurrent use.
type Letters struct {
	Pool    *pgxpool.Pool
	Client  redis.UniversalClient
	Streams []string // that the consumers read
}

// ErrNotFound is returned for an id that no dead letter has, or no longer.
var ErrNotFound = errors.New("no such dead letter")

// List returns at most limit letters, newest first, whose id is below before; zero
// begins with the newest. The last letter's id is where to go on.
func (l *Letters) List(ctx context.Context, f Filter, before int64, limit int) ([]Letter, error) {
	rows, err := l.Pool.Query(ctx, `
		SELECT id, stream, stream_id, stage, reason, attempts, arrived_at, created_at, length(payload)
		FROM dead_letters`+where+` AND ($6 = 0 OR id < $6::bigint)
		ORDER BY id DESC LIMIT $7`, f.args(before, limit)...)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Letter, err error) {
		err = row.Scan(&d.ID, &d.Stream, &d.StreamID, &d.Stage, &d.Reason, &d.Attempts, &d.ArrivedAt, &d.CreatedAt, &d.Bytes)
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// Show returns one letter with its payload; the error is ErrNotFound when there is
// none.
func (l *Letters) Show(ctx context.Context, id int64) (d Letter, err error) {
	err = l.Pool.QueryRow(ctx, `
		SELECT id, stream, stream_id, stage, reason, attempts, arrived_at, created_at, length(payload), payload
		FROM dead_letters WHERE id = $1`, id).
		Scan(&d.ID, &d.Stream, &d.StreamID, &d.Stage, &d.Reason, &d.Attempts, &d.ArrivedAt, &d.CreatedAt, &d.Bytes, &d.Payload)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, ErrNotFound
	}
	if err != nil {
		return d, fmt.Errorf("show dead letter: %w", err)
	}
	return d, nil
}

// Count returns how many letters the filter chooses.
func (l *Letters) Count(ctx context.Context, f Filter) (n int64, err error) {
	n, _, err = l.count(ctx, f)
	return n, err
}

// count also returns the newest one's id: whoever works on the letters stops there,
// because what is replayed in vain comes back as a new one.
func (l *Letters) count(ctx context.Context, f Filter) (n, newest int64, err error) {
	err = l.Pool.QueryRow(ctx, `SELECT count(*), coalesce(max(id), 0) FROM dead_letters`+where, f.args()...).Scan(&n, &newest)
	if err != nil {
		return 0, 0, fmt.Errorf("count dead letters: %w", err)
	}
	return n, newest, nil
}
