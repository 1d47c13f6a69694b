package live

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"iter"
	"log/slog"
	"slices"
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

	lanes    []*lane   // one at least
	turn     int       // of the lane that is told next
	told     []*client // since deliver
	samplers samplers

	live   bool       // whether the numbers are current
	base   visibility // what the epochs' picture has: these batches are not counted again
	values *values    // of the dimensions; nil while nobody wants any, or before they are loaded
	due    time.Time  // of the next update
	topped time.Time  // the newest tops

	flushing, topping, settling, retrying *time.Timer
	pacing                                bool // flushing runs
	survey                                *survey
	surveys                               int
	background                            sync.WaitGroup
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
	for c := range h.clients() {
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
			h.tell((*lane).heartbeat, everybody)
		case <-look.C:
			h.expel()
			h.narrow()
		case call := <-h.calls:
			call(ctx)
		}
		h.deliver()
	}
}

// atATime is how many clients one goroutine sends to: as many as a lane mostly has.
const atATime = laneSize

// deliver has what clients were told sent, many by one goroutine: it is cheaper than to wake
// one for each.
func (h *Hub) deliver() {
	for told := range slices.Chunk(h.told, atATime) {
		h.background.Go(func() {
			for _, c := range told {
				c.offer()
			}
		})
	}
	h.told = nil
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
			h.tell((*lane).stale, everybody)
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
	for _, l := range h.lanes {
		l.pending.addAll(b.counts)
	}
	if h.values != nil && h.values.addAll(b.values) {
		h.topping.Reset(max(0, topInterval-time.Since(h.topped)))
	}
	if !h.pacing {
		h.due = time.Now()
		h.flush()
	}
}

// flush tells the next lane that has something pending, and lets the one after it wait
// for its share of the interval.
func (h *Hub) flush() {
	now := time.Now()
	h.pacing = false
	for range h.lanes {
		l := h.lanes[h.turn%len(h.lanes)]
		h.turn++
		if h.update(l, now) {
			// From when it was due, so that clients do not get fewer because this came late.
			step := h.cfg.Interval / time.Duration(len(h.lanes))
			if h.due = h.due.Add(step); h.due.Before(now) {
				h.due = now
			}
			h.pacing = true
			h.flushing.Reset(h.due.Sub(now))
			return
		}
	}
}

// update sends a lane what is pending, and reports whether there was anything.
func (h *Hub) update(l *lane, now time.Time) bool {
	if !h.live {
		return false
	}
	l.ring.bytes = maxRingBytes / len(h.lanes)
	p := l.next(now)
	if p == nil {
		return false
	}
	h.metrics.messages.Inc()
	h.broadcast(l, p, wantsMetrics)
	return true
}

// adopt begins an epoch.
func (h *Hub) adopt(counts window, values *values, commits visibility, reason string) {
	from := windowStart(time.Now())
	for _, l := range h.lanes {
		l.begin(counts, from)
	}
	h.base, h.values = commits, values
	h.live = true
	h.metrics.current.Set(1)
	h.metrics.snapshots.WithLabelValues(reason).Inc()
	h.tell((*lane).snapshotMessage, wantsMetrics)
	h.tell((*lane).heartbeat, func(c *client) bool { return !c.wants.Metrics })
	h.tellTops()
}

func newEpoch() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

func everybody(*client) bool { return true }

func wantsMetrics(c *client) bool { return c.wants.Metrics }

// clients are those of all lanes.
func (h *Hub) clients() iter.Seq[*client] {
	return func(yield func(*client) bool) {
		for _, l := range h.lanes {
			for c := range l.clients {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// tell sends each lane's message to those who want it; while the numbers are not current,
// that they are stale.
func (h *Hub) tell(message func(*lane) *packet, wants func(*client) bool) {
	if !h.live {
		message = (*lane).stale
	}
	for _, l := range h.lanes {
		h.broadcast(l, message(l), wants)
	}
}

// broadcast sends a message to those of a lane who want it. It never blocks.
func (h *Hub) broadcast(l *lane, p *packet, wants func(*client) bool) {
	b := burst{p}
	for c := range l.clients {
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
		h.told = append(h.told, c)
	default:
		h.metrics.slow.Inc()
		h.end(c, websocket.StatusTryAgainLater, "too slow: reconnect with the last epoch and seq")
	}
}

// expel lets go of the clients whose keys were withdrawn.
func (h *Hub) expel() {
	for c := range h.clients() {
		if !c.good() {
			h.end(c, statusForbidden, "the key was withdrawn")
		}
	}
}

// end lets go of a client, which may be gone already. Without a code, its connection has
// ended by itself.
func (h *Hub) end(c *client, code websocket.StatusCode, reason string) {
	if !c.here() {
		return
	}
	c.end(code, reason)
	h.samplers.leave(c)
	delete(c.lane.clients, c)
	c.lane.emptied = time.Now()
	h.metrics.clients.Dec()
}
