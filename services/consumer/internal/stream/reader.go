package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"weir/services/shared/event"
	"weir/services/shared/retry"
)

// Chunk is what one read gave. The entries are pending until its marks are
// acknowledged.
type Chunk struct {
	Group   Group
	Entries []Entry
	Marks   []string
	Traces  []string // of the requests that brought the entries, when they are traced; not of redelivered ones

	// Redelivered entries were given to a consumer before, perhaps this one, which
	// may have stored them.
	Redelivered bool
}

// Reader reads one partition for one consumer.
type Reader struct {
	Group    Group
	Consumer string // stable over restarts, so that a consumer finds its own pending entries
	Log      *slog.Logger

	Count      int64         // most entries of one read
	Block      time.Duration // longest wait of one read
	ClaimEvery time.Duration // how often to look for entries left by dead consumers
	ClaimIdle  time.Duration // pending without a sign for this long means left

	// Gate blocks while nothing should be read (paused, or the breaker is open).
	Gate func(context.Context) error

	// Abandon is closed when nobody takes chunks any more; what is left of them then
	// stays pending. Nil means never.
	Abandon <-chan struct{}

	// InVain, if any, is told how many entries were read that another consumer took first.
	InVain func(entries int)

	turn  turn
	reply reply
	few   bool // the last read had entries, but not as many as it might
	size  int  // of the entries of the last read that had any, on average; 0 before it
}

// A read is to bring about so many bytes at most, so that large events do not make
// chunks larger, but shorter. Before the first, any event may be as large as allowed.
const readBytes = 1 << 20

// count is how many entries the next read may bring.
func (r *Reader) count() int64 {
	size := r.size
	if size == 0 {
		size = event.MaxSize
	}
	return max(1, min(r.Count, int64(readBytes/size)))
}

// weigh takes note of what a read brought.
func (r *Reader) weigh(list []Entry) {
	total := 0
	for i := range list {
		total += len(list[i].Payload)
	}
	if len(list) > 0 {
		r.size = max(1, total/len(list))
	}
}

// Run sends what it reads to out until ctx ends; it returns nil then, once it has
// also sent what it had read, so that a clean stop leaves nothing pending. Errors of
// Redis are waited out. out is bounded, so reading stops when writing is slow and the
// backlog stays in the stream.
//
// The order: first the entries that this consumer left pending when it last
// stopped, then new ones, and now and then those that others left.
func (r *Reader) Run(ctx context.Context, out chan<- Chunk) error {
	own, ownDone := "", false // how far it is through its own pending entries
	claim, claimFrom := time.Now().Add(r.ClaimEvery), ""
	position := "" // of the group, as far as known
	wait := retry.Backoff()
	ensured := false
	for {
		if err := r.Gate(ctx); err != nil {
			return nil
		}
		var chunk Chunk
		var err error
		switch {
		case !ensured:
			if err = r.Group.Ensure(ctx); err == nil {
				ensured = true
			}
		case !ownDone:
			chunk, own, err = r.pending(ctx, own)
			ownDone = err == nil && own == ""
		case time.Now().After(claim):
			chunk, claimFrom, err = r.claim(ctx, claimFrom)
			if err == nil && claimFrom == "" { // been through all
				claim = time.Now().Add(r.ClaimEvery)
			}
		default:
			chunk, position, err = r.fresh(ctx, position)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, errNoGroup) {
				// Flushed, or failed over to a replica that lacked it.
				r.Log.Warn("The consumer group is gone, creating it again.", "stream", r.Group.Key, "group", r.Group.Name)
				ensured, own, ownDone, position = false, "", false, ""
			} else {
				r.Log.Warn("Reading the stream failed, trying again.", "stream", r.Group.Key, "error", err)
			}
			select {
			case <-time.After(wait.NextBackOff()):
			case <-ctx.Done():
			}
			continue
		}
		wait.Reset()
		if len(chunk.Entries) > 0 {
			select {
			case out <- chunk:
			case <-r.Abandon:
				return nil
			}
		}
	}
}

// fresh reads and takes entries that no consumer of the group has been given, after
// the group's position; "" means to ask for it. It returns the new position.
func (r *Reader) fresh(ctx context.Context, position string) (Chunk, string, error) {
	if r.few {
		time.Sleep(rest)
	}
	if r.turn.shared() && !r.turn.has {
		var err error
		if position, err = r.await(ctx); err != nil {
			return Chunk{}, "", err
		}
	}
	if position == "" {
		var err error
		if position, err = r.Group.position(ctx); err != nil {
			return Chunk{}, "", err
		}
	}
	count := r.count()
	list, traces, err := r.read(ctx, position, count)
	r.few = len(list) > 0 && int64(len(list)) < count
	if err != nil || len(list) == 0 {
		return Chunk{}, "", err // a quiet moment to see whether somebody moved the group
	}
	r.weigh(list)
	mine, now, err := r.Group.take(ctx, r.Consumer, position, list)
	if err != nil {
		return Chunk{}, "", err
	}
	if !mine {
		r.turn.late()
		if r.InVain != nil {
			r.InVain(len(list))
		}
		return Chunk{}, now, nil
	}
	if r.turn.shared() {
		r.handOn(ctx, now)
	}
	return Chunk{Group: r.Group, Entries: list, Marks: []string{list[0].ID}, Traces: traces}, now, nil
}

// rest is how long a reader lets entries gather that follow a few, instead of taking every
// handful by itself. Measured at 30,000 events/s: a fifth less CPU of the consumer, a quarter
// less of Redis; events are stored as soon as before, as a batch waits longer than that.
const rest = 5 * time.Millisecond

// answer is how long Redis may take to answer, besides what it was asked to wait.
const answer = 3 * time.Second

func (r *Reader) read(ctx context.Context, position string, count int64) (list []Entry, traces []string, err error) {
	// go-redis itself would wait ten seconds more than Redis may block.
	ctx, cancel := context.WithTimeout(ctx, r.Block+answer)
	defer cancel()
	command := redis.NewRawWriteToCmd(ctx, r.buffer(), "XREAD", "COUNT", count, "BLOCK", r.Block.Milliseconds(), "STREAMS", r.Group.Key, position)
	command.SetFirstKeyPos(6) // tells a cluster's client which node to ask
	err = r.Group.Reading.Process(ctx, command)
	if len(r.reply.b) > 0 && r.reply.b[0] == '-' {
		// What an error means, such as that the stream moved to another node, go-redis
		// knows best; but it is left to us in a raw reply.
		err = r.Group.Reading.XRead(ctx, &redis.XReadArgs{Streams: []string{r.Group.Key, position}, Count: 1, Block: -1}).Err()
		if err == nil {
			return nil, nil, nil // it was gone when asked again
		}
	}
	var network *net.OpError
	if errors.Is(err, redis.Nil) || errors.As(err, &network) && network.Op == "read" && network.Timeout() {
		return nil, nil, nil // nothing arrived
	}
	if err != nil {
		return nil, nil, err
	}
	return parseEntries(string(r.reply.b))
}

// buffer returns an empty reply, with the room of the last.
func (r *Reader) buffer() *reply {
	if r.reply.b = r.reply.b[:0]; cap(r.reply.b) > mostBuffered {
		r.reply.b = nil
	}
	return &r.reply
}

// mostBuffered bounds the memory that one read of large events leaves behind.
const mostBuffered = 4 << 20

// pending reads what this consumer itself left pending, after an id, and returns where
// to go on, "" at the end.
func (r *Reader) pending(ctx context.Context, after string) (Chunk, string, error) {
	marks, next, err := r.Group.marks(ctx, redis.XPendingExtArgs{Consumer: r.Consumer}, after, r.count())
	if err != nil || len(marks) == 0 {
		return Chunk{}, next, err
	}
	list, there, anew, err := r.load(ctx, marks)
	if err != nil {
		return Chunk{}, after, err
	}
	r.Log.Info("Going on with entries left pending by an earlier run.", "stream", r.Group.Key, "entries", len(list))
	return Chunk{Group: r.Group, Entries: list, Marks: append(there, anew...), Redelivered: true}, next, nil
}

// claim takes over what consumers hold that gave no sign for ClaimIdle, after an id,
// and returns where to go on, "" at the end.
func (r *Reader) claim(ctx context.Context, after string) (Chunk, string, error) {
	marks, next, err := r.Group.marks(ctx, redis.XPendingExtArgs{Idle: r.ClaimIdle}, after, r.count())
	if err != nil || len(marks) == 0 {
		return Chunk{}, next, err
	}
	list, there, won, err := r.load(ctx, marks)
	if err != nil {
		return Chunk{}, after, err
	}
	if len(there) > 0 {
		// Who claims a mark first has it: then it is not idle any more. When some went to
		// another, storing theirs as well changes nothing.
		args := &redis.XClaimArgs{Stream: r.Group.Key, Group: r.Group.Name, Consumer: r.Consumer, MinIdle: r.ClaimIdle, Messages: there}
		claimed, err := r.Group.Client.XClaimJustID(ctx, args).Result()
		if err != nil {
			return Chunk{}, after, fmt.Errorf("take over: %w", err)
		}
		won = append(won, claimed...)
	}
	if len(won) == 0 {
		return Chunk{}, next, nil
	}
	r.Log.Info("Taking over entries that a consumer left.", "stream", r.Group.Key, "entries", len(list))
	return Chunk{Group: r.Group, Entries: list, Marks: won, Redelivered: true}, next, nil
}

// load reads the entries of marks. A mark whose entry somebody deleted is done with.
func (r *Reader) load(ctx context.Context, marks []mark) (list []Entry, there, anew []string, err error) {
	list, there, anew, gone, err := r.Group.load(ctx, r.Consumer, marks)
	r.weigh(list)
	if err != nil || len(gone) == 0 {
		return list, there, anew, err
	}
	r.Log.Error("Pending entries were deleted from the stream before they were stored.", "stream", r.Group.Key, "ids", gone)
	return list, there, anew, r.Group.Ack(ctx, gone)
}

// entries takes over what is needed of go-redis' messages, whose map for each entry
// is larger than the event. An entry without the field keeps an empty payload, and so
// becomes a dead letter; one that is no longer in the stream has no values at all.
func entries(messages []redis.XMessage) []Entry {
	list := make([]Entry, 0, len(messages))
	for i := range messages {
		if m := &messages[i]; m.Values != nil {
			payload, _ := m.Values[event.Field].(string)
			list = append(list, Entry{m.ID, payload})
		}
	}
	return list
}
