package live

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Hub keeps the live numbers and tells all clients of every change. One goroutine,
// Run's, owns all below the line; everybody else talks to it over channels: signals of
// the feed, pictures of the database, calls of clients (call.go).
type Hub struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	feed    feed
	painter painter

	signals  chan signal
	pictures chan picture
	calls    chan func(context.Context)
	done     chan struct{}  // closed when Run takes no more calls
	open     atomic.Int64   // connections, counted before they join
	serving  sync.WaitGroup // clients that have joined and not yet ended

	// ---

	clients  map[*client]struct{}
	samplers samplers

	live    bool       // whether the numbers are current
	epoch   string     // begins with a picture of the database
	seq     uint64     // of the newest message of the epoch
	base    visibility // what the epoch's picture has: these batches are not counted again
	state   window     // as of seq
	pending window     // counted since, not yet sent
	values  *values    // of the dimensions; nil while nobody wants any, or before they are loaded
	ring    ring
	sent    time.Time // the newest update
	topped  time.Time // the newest top

	flushing, topping, settling, retrying *time.Timer
	survey                                *survey
	surveys                               int
	background                            sync.WaitGroup

	snapshot     *packet // the snapshot message of seq and snapshotFrom, if made
	snapshotFrom int32
}

type place struct {
	epoch string
	seq   uint64
}

const goingAway = "the server is shutting down"

// statusForbidden is registered for what would be 403 of HTTP.
const statusForbidden websocket.StatusCode = 3003

// lookAgain is how often clients are looked at for keys that were withdrawn. 10,000 take
// the hub a millisecond.
const lookAgain = time.Second

// Run keeps the numbers until ctx ends; then it closes every client with 1001 (going
// away) and returns when they have ended.
func (h *Hub) Run(ctx context.Context) error {
	working, stop := context.WithCancel(ctx)
	h.background.Go(func() { h.feed.run(working, h.signals) })
	h.loop(working)
	close(h.done)
	stop()
	for c := range h.clients {
		h.end(c, websocket.StatusGoingAway, goingAway)
	}
	h.serving.Wait()
	h.background.Wait()
	return nil
}

func (h *Hub) loop(ctx context.Context) {
	heartbeat, reconcile, look := time.NewTicker(h.cfg.Heartbeat), time.NewTicker(h.cfg.Reconcile), time.NewTicker(lookAgain)
	defer heartbeat.Stop()
	defer reconcile.Stop()
	defer look.Stop()
	for _, t := range []**time.Timer{&h.flushing, &h.topping, &h.settling, &h.retrying} {
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
			h.compare(ctx)
		case <-h.retrying.C:
			h.begin(ctx, subscribedAgain)
		case <-reconcile.C:
			h.reconcile(ctx)
		case <-h.flushing.C:
			h.flush()
		case <-h.topping.C:
			h.tellTops()
		case <-heartbeat.C:
			h.broadcast(h.heartbeat(), everybody)
		case <-look.C:
			h.expel()
		case call := <-h.calls:
			call(ctx)
		}
	}
}

// hear takes what the feed says.
func (h *Hub) hear(ctx context.Context, s signal) {
	switch s.event {
	case subscribed:
		h.begin(ctx, subscribedAgain)
	case lost:
		h.abandon()
		if h.live {
			h.live = false
			h.metrics.current.Set(0)
			h.broadcast(h.stale(), everybody)
		}
	case published:
		if h.survey != nil && !h.survey.keep(s.batch) {
			h.log.Warn("Live batches came faster than the database could be read, starting over.")
			reason := h.survey.reason
			h.abandon()
			if reason != comparing {
				h.begin(ctx, reason)
			}
		}
		if h.live {
			h.count(s.batch)
		}
		h.sample(s.batch.sample)
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
	if h.values != nil && h.values.addAll(b.values) {
		h.topping.Reset(max(0, topInterval-time.Since(h.topped)))
	}
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
	p := m.pack()
	h.ring.push(h.seq, p)
	h.metrics.messages.Inc()
	h.broadcast(p, wantsMetrics)
}

// adopt begins an epoch.
func (h *Hub) adopt(counts window, values *values, commits visibility, reason string) {
	h.epoch, h.seq, h.base = newEpoch(), 0, commits
	h.state, h.pending, h.values = counts, window{}, values
	h.sent, h.snapshot = time.Now(), nil
	h.state.trim(windowStart(h.sent))
	h.ring.reset(0)
	h.live = true
	h.metrics.current.Set(1)
	h.metrics.snapshots.WithLabelValues(reason).Inc()
	h.broadcast(h.snapshotMessage(), wantsMetrics)
	h.broadcast(h.heartbeat(), func(c *client) bool { return !c.wants.Metrics })
	h.tellTops()
}

func newEpoch() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

func everybody(*client) bool { return true }

func wantsMetrics(c *client) bool { return c.wants.Metrics }

// broadcast sends a message to those who want it. It never blocks.
func (h *Hub) broadcast(p *packet, wants func(*client) bool) {
	b := burst{p}
	for c := range h.clients {
		if wants(c) {
			h.send(c, b)
		}
	}
}

// send never blocks. A client whose buffer is full is let go: it may come back and
// resume.
func (h *Hub) send(c *client, b burst) {
	select {
	case c.bursts <- b:
	default:
		h.metrics.slow.Inc()
		h.end(c, websocket.StatusTryAgainLater, "too slow: reconnect with the last epoch and seq")
	}
}

// expel lets go of the clients whose keys were withdrawn.
func (h *Hub) expel() {
	for c := range h.clients {
		if !c.good() {
			h.end(c, statusForbidden, "the key was withdrawn")
		}
	}
}

// end lets go of a client, which may be gone already. Without a code, its connection has
// ended by itself.
func (h *Hub) end(c *client, code websocket.StatusCode, reason string) {
	if _, here := h.clients[c]; !here {
		return
	}
	c.end(code, reason)
	h.samplers.leave(c)
	delete(h.clients, c)
	h.metrics.clients.Set(float64(len(h.clients)))
}

// message is the frame of what is said about the state as of seq.
func (h *Hub) message(kind string, now time.Time) Message {
	sum := h.state.total()
	return Message{Type: kind, Epoch: h.epoch, Seq: h.seq, AsOf: now.UTC(), From: timeOf(windowStart(now)), Totals: &totals{sum.events, sum.value}}
}

// snapshotMessage is made once for all clients that come between two updates.
func (h *Hub) snapshotMessage() *packet {
	now := time.Now()
	if from := windowStart(now); h.snapshot == nil || h.snapshotFrom != from {
		h.state.trim(from)
		m := h.message("snapshot", now)
		m.Minutes = h.state.sorted()
		h.snapshot, h.snapshotFrom = m.pack(), from
	}
	return h.snapshot
}

func (h *Hub) heartbeat() *packet {
	if !h.live {
		return h.stale()
	}
	now := time.Now()
	h.state.trim(windowStart(now))
	return h.message("heartbeat", now).pack()
}

func (h *Hub) stale() *packet {
	return Message{Type: "stale", Epoch: h.epoch, Seq: h.seq, AsOf: time.Now().UTC()}.pack()
}
