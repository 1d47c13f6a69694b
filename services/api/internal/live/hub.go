package live

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Hub keeps the live numbers and tells all clients of every change. One goroutine,
// Run's, owns all below the line; everybody else talks to it over channels.
type Hub struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	feed    feed
	painter painter

	signals  chan signal
	pictures chan picture
	joins    chan join
	leaves   chan *client
	done     chan struct{}  // closed when Run takes no more clients
	open     atomic.Int64   // connections, counted before they join
	serving  sync.WaitGroup // clients that have joined and not yet ended

	// ---

	clients map[*client]struct{}

	live    bool       // whether the numbers are current
	epoch   string     // begins with a picture of the database
	seq     uint64     // of the newest message of the epoch
	base    visibility // what the epoch's picture has: these batches are not counted again
	state   window     // as of seq
	pending window     // counted since, not yet sent
	ring    ring
	sent    time.Time // the newest update

	flushing, settling, retrying *time.Timer
	survey                       *survey
	surveys                      int
	background                   sync.WaitGroup

	snapshot     []byte // the snapshot message of seq and snapshotFrom, if made
	snapshotFrom int32
}

// join is a client that asks to take part, and where it left off, if it did.
type join struct {
	client *client
	resume *place
	first  chan<- [][]byte // what to send before all else
}

type place struct {
	epoch string
	seq   uint64
}

// Run keeps the numbers until ctx ends; then it closes every client with 1001 (going
// away) and returns when they have ended.
func (h *Hub) Run(ctx context.Context) error {
	working, stop := context.WithCancel(ctx)
	h.background.Go(func() { h.feed.run(working, h.signals) })
	h.loop(working)
	close(h.done)
	stop()
	for c := range h.clients {
		c.end(websocket.StatusGoingAway, "the server is shutting down")
	}
	h.serving.Wait()
	h.background.Wait()
	return nil
}

func (h *Hub) loop(ctx context.Context) {
	heartbeat, reconcile := time.NewTicker(h.cfg.Heartbeat), time.NewTicker(h.cfg.Reconcile)
	defer heartbeat.Stop()
	defer reconcile.Stop()
	for _, t := range []**time.Timer{&h.flushing, &h.settling, &h.retrying} {
		*t = time.NewTimer(0)
		(*t).Stop()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-h.signals:
			h.hear(ctx, s)
		case p := <-h.pictures:
			h.look(p)
		case <-h.settling.C:
			h.compare()
		case <-h.retrying.C:
			h.begin(ctx, true)
		case <-reconcile.C:
			if h.live && h.survey == nil {
				h.begin(ctx, false)
			}
		case <-h.flushing.C:
			h.flush()
		case <-heartbeat.C:
			h.broadcast(h.heartbeat())
		case j := <-h.joins:
			h.admit(j)
		case c := <-h.leaves:
			delete(h.clients, c)
			h.metrics.clients.Set(float64(len(h.clients)))
		}
	}
}

// hear takes what the feed says.
func (h *Hub) hear(ctx context.Context, s signal) {
	switch s.event {
	case subscribed:
		h.begin(ctx, true)
	case lost:
		h.abandon()
		if h.live {
			h.live = false
			h.metrics.current.Set(0)
			h.broadcast(h.stale())
		}
	case published:
		if h.survey != nil && !h.survey.keep(s.batch) {
			h.log.Warn("Live batches came faster than the database could be read, starting over.")
			adopting := h.survey.adopting
			h.abandon()
			if adopting {
				h.begin(ctx, true)
			}
		}
		if h.live {
			h.count(s.batch)
		}
	}
}

// count adds a batch. The first after a pause is sent at once, and what follows
// within the interval together.
func (h *Hub) count(b batch) {
	if h.base.sees(b.xid) {
		h.metrics.batches.WithLabelValues("known").Inc()
		return
	}
	h.metrics.batches.WithLabelValues("counted").Inc()
	waiting := len(h.pending) > 0
	h.pending.addAll(b.counts)
	if waiting || len(h.pending) == 0 {
		return // the timer runs, or there is nothing to tell
	}
	if wait := h.cfg.Interval - time.Since(h.sent); wait > 0 {
		h.flushing.Reset(wait)
	} else {
		h.flush()
	}
}

// flush sends what is pending as the next message of the epoch.
func (h *Hub) flush() {
	h.flushing.Stop()
	now := time.Now()
	from := windowStart(now)
	h.state.trim(from)
	h.pending.trim(from)
	if !h.live || len(h.pending) == 0 {
		return
	}
	h.state.addAll(h.pending)
	h.seq++
	m := h.message("delta", now)
	m.Minutes = h.pending.sorted()
	h.pending, h.sent, h.snapshot = window{}, now, nil
	data := m.encode()
	h.ring.push(h.seq, data)
	h.metrics.messages.Inc()
	h.broadcast(data)
}

// adopt begins an epoch.
func (h *Hub) adopt(counts window, commits visibility, reason string) {
	h.epoch, h.seq, h.base = newEpoch(), 0, commits
	h.state, h.pending, h.sent, h.snapshot = counts, window{}, time.Now(), nil
	h.state.trim(windowStart(h.sent))
	h.ring.reset(0)
	h.live = true
	h.metrics.current.Set(1)
	h.metrics.snapshots.WithLabelValues(reason).Inc()
	h.broadcast(h.snapshotMessage())
}

func newEpoch() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

// broadcast never blocks. A client whose buffer is full is let go: it may come back
// and resume.
func (h *Hub) broadcast(data []byte) {
	for c := range h.clients {
		select {
		case c.messages <- data:
		default:
			delete(h.clients, c)
			h.metrics.slow.Inc()
			c.end(websocket.StatusTryAgainLater, "too slow: reconnect with the last epoch and seq")
		}
	}
	h.metrics.clients.Set(float64(len(h.clients)))
}

// admit adds a client and answers with what it has to be told first.
func (h *Hub) admit(j join) {
	h.serving.Add(1)
	h.clients[j.client] = struct{}{}
	h.metrics.clients.Set(float64(len(h.clients)))
	j.first <- h.welcome(j.resume)
}

func (h *Hub) welcome(resume *place) [][]byte {
	switch {
	case h.live:
	case h.epoch == "":
		return nil // just started: the snapshot, which is on its way, is the first message
	default:
		return [][]byte{h.stale()} // the snapshot follows when Redis is back
	}
	if resume != nil && resume.epoch == h.epoch {
		if missed, ok := h.ring.since(resume.seq); ok {
			return append(missed, h.heartbeat())
		}
	}
	return [][]byte{h.snapshotMessage()}
}

// message is the frame of what is said about the state as of seq.
func (h *Hub) message(kind string, now time.Time) Message {
	sum := h.state.total()
	return Message{Type: kind, Epoch: h.epoch, Seq: h.seq, AsOf: now.UTC(), From: timeOf(windowStart(now)), Totals: &totals{sum.events, sum.value}}
}

// snapshotMessage is made once for all clients that come between two updates.
func (h *Hub) snapshotMessage() []byte {
	now := time.Now()
	if from := windowStart(now); h.snapshot == nil || h.snapshotFrom != from {
		h.state.trim(from)
		m := h.message("snapshot", now)
		m.Minutes = h.state.sorted()
		h.snapshot, h.snapshotFrom = m.encode(), from
	}
	return h.snapshot
}

func (h *Hub) heartbeat() []byte {
	if !h.live {
		return h.stale()
	}
	now := time.Now()
	h.state.trim(windowStart(now))
	return h.message("heartbeat", now).encode()
}

func (h *Hub) stale() []byte {
	return Message{Type: "stale", Epoch: h.epoch, Seq: h.seq, AsOf: time.Now().UTC()}.encode()
}

// errEnded is returned to a client that comes after the end.
var errEnded = errors.New("the server is shutting down")

// add makes c take part and returns what to send it first.
func (h *Hub) add(c *client, resume *place) ([][]byte, error) {
	first := make(chan [][]byte, 1)
	select {
	case h.joins <- join{c, resume, first}:
		return <-first, nil
	case <-h.done:
		return nil, errEnded
	}
}

// remove ends what add began.
func (h *Hub) remove(c *client) {
	select {
	case h.leaves <- c:
	case <-h.done:
	}
	h.serving.Done()
}
