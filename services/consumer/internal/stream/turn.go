package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Consumers that read one stream at the same time read the same entries: one takes them,
// the others have read in vain. So whoever came too late waits for a turn from then on.
// Whoever has taken a chunk hands the turn on with the group's new position, in a list
// whose waiting clients Redis serves in the order in which they came.
//
// A turn promises nothing. One that is lost with its consumer is waited for in vain for a
// moment, and of two at the same time one ends when its reader comes too late: who takes
// a chunk is for the group's position alone to say. A consumer that met nobody for a while
// reads without, as does one that is alone.
type turn struct {
	met time.Time // when another consumer was last noticed
	has bool      // it is this reader's now
}

// sociable is for how long one that met another consumer takes turns. A turn that nobody
// waits for is gone after as long.
const sociable = 30 * time.Second

// patience is how long a consumer waits for its turn: while others read some chunks. Who
// has the turn may be dead, or wait for its share of the CPU, as in a container with a
// limit, and then the others are faster without.
const patience = 20 * time.Millisecond

func (t *turn) shared() bool { return time.Since(t.met) < sociable }

// late notes that another consumer came first.
func (t *turn) late() { t.met, t.has = time.Now(), false }

func (g Group) turns() string { return g.Key + ":turn:" + g.Name }

// await waits for the reader's turn, and returns the position that came with it; "" when
// none came in time.
func (r *Reader) await(ctx context.Context) (position string, err error) {
	reply, err := r.Group.Reading.Do(ctx, "BLPOP", r.Group.turns(), patience.Seconds()).StringSlice()
	r.turn.has = err == nil && len(reply) == 2
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("wait for a turn: %w", err)
	}
	position, from, _ := strings.Cut(reply[1], " ")
	if from != r.Consumer {
		r.turn.met = time.Now()
	}
	return position, nil
}

// handOn gives the turn to the next, whoever that is. When it fails the others wait for
// nothing for a moment; what is wrong with Redis, the next read tells.
func (r *Reader) handOn(ctx context.Context, position string) {
	r.turn.has = false
	key := r.Group.turns()
	_, _ = r.Group.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, key, position+" "+r.Consumer)
		p.LTrim(ctx, key, -1, -1) // of two that nobody waits for, the newer
		p.PExpire(ctx, key, sociable)
		return nil
	})
}
