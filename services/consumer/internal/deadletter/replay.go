package deadletter

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"weir/services/shared/event"
)

// chunk is how many letters go in one transaction: it bounds the memory, and what a
// crash makes arrive twice.
const chunk = 200

// Replay publishes at most limit of the letters that the filter chooses again, oldest
// first, and removes them. It returns how many, also with an error, after which
// running it again goes on.
//
// The event keeps its id and goes to the stream that it came from, or to the first
// when that is read no more. What fails again becomes a new dead letter.
func (l *Letters) Replay(ctx context.Context, f Filter, limit int64) (done int64, err error) {
	return l.inChunks(ctx, f, limit, l.publish)
}

// Discard removes at most limit of the letters that the filter chooses, oldest first,
// for ever. It returns how many, also with an error.
func (l *Letters) Discard(ctx context.Context, f Filter, limit int64) (done int64, err error) {
	return l.inChunks(ctx, f, limit, func(context.Context, []sent) error { return nil })
}

// sent is what is needed of a letter to send it.
type sent struct {
	ID      int64
	Stream  string
	Payload []byte
}

func (l *Letters) inChunks(ctx context.Context, f Filter, limit int64, act func(context.Context, []sent) error) (done int64, err error) {
	_, newest, err := l.count(ctx, f)
	if err != nil {
		return 0, err
	}
	for done < limit {
		n := 0
		err := pgx.BeginFunc(ctx, l.Pool, func(tx pgx.Tx) error {
			// 1. Take some, leaving those that somebody else is at. Crash: nothing happened.
			rows, err := tx.Query(ctx, `
				SELECT id, stream, payload FROM dead_letters`+where+` AND id <= $6
				ORDER BY id LIMIT $7 FOR UPDATE SKIP LOCKED`, f.args(newest, min(chunk, limit-done))...)
			if err != nil {
				return err
			}
			letters, err := pgx.CollectRows(rows, pgx.RowToStructByPos[sent])
			if err != nil || len(letters) == 0 {
				return err
			}
			// 2. Publish. Crash: they are on the stream and still here. Sent once more, their
			// events are recognised by id and time.
			if err := act(ctx, letters); err != nil {
				return err
			}
			// 3. Remove, now that Redis has acknowledged. Crash after: done.
			ids := make([]int64, len(letters))
			for i := range letters {
				ids[i] = letters[i].ID
			}
			n = len(letters)
			_, err = tx.Exec(ctx, `DELETE FROM dead_letters WHERE id = ANY ($1)`, ids)
			return err
		})
		if err != nil {
			return done, fmt.Errorf("work through dead letters: %w", err)
		}
		if n == 0 {
			break
		}
		done += int64(n)
	}
	return done, nil
}

func (l *Letters) publish(ctx context.Context, letters []sent) error {
	_, err := l.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, d := range letters {
			key := d.Stream
			if !slices.Contains(l.Streams, key) {
				key = l.Streams[0]
			}
			p.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []any{event.Field, d.Payload}})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}
