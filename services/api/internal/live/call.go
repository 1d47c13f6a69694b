package live

import (
	"context"
	"time"

	"github.com/coder/websocket"
)

// call has the hub's goroutine do something. It reports false after the end.
func (h *Hub) call(do func(context.Context)) bool {
	select {
	case h.calls <- do:
		return true
	case <-h.done:
		return false
	}
}

// add makes c take part, from where it left off, if it did; what it has to be told first
// is in its buffer then. It reports false after the end.
func (h *Hub) add(c *client, resume *place) bool {
	return h.call(func(ctx context.Context) {
		h.serving.Add(1)
		c.lane = h.lane(resume)
		c.lane.clients[c] = struct{}{}
		h.metrics.clients.Inc()
		b := h.welcome(c, resume)
		h.send(c, append(b, h.subscribe(ctx, c)...))
	})
}

// change replaces what c wants.
func (h *Hub) change(c *client, wants Subscription) {
	h.call(func(ctx context.Context) {
		if !c.here() {
			return // it was let go meanwhile
		}
		had := c.wants.Metrics
		c.wants = wants
		m := c.lane.place("subscribed", time.Now())
		m.Subscription = &wants
		b := burst{m.pack()}
		if wants.Metrics && !had {
			b = append(b, h.welcome(c, nil)...)
		}
		h.send(c, append(b, h.subscribe(ctx, c)...))
	})
}

// answer tells c what it asked for. A client that does not read answers is too slow as any.
func (h *Hub) answer(c *client, m Message) {
	h.call(func(context.Context) {
		if c.here() {
			h.send(c, burst{m.pack()})
		}
	})
}

// dismiss ends c, with a reason if there is a code.
func (h *Hub) dismiss(c *client, code websocket.StatusCode, reason string) {
	h.call(func(context.Context) { h.end(c, code, reason) })
}

// welcome is where a client's numbers begin.
func (h *Hub) welcome(c *client, resume *place) burst {
	l := c.lane
	switch {
	case h.live:
	case l.epoch == "":
		return nil // just started: the snapshot, which is on its way, is the first message
	default:
		return burst{l.stale()} // the snapshot follows when Redis is back
	}
	if !c.wants.Metrics {
		return burst{l.heartbeat()}
	}
	if resume != nil && resume.epoch == l.epoch {
		if missed, ok := l.ring.since(resume.seq); ok {
			return append(missed, l.heartbeat())
		}
	}
	return burst{l.snapshotMessage()}
}

// subscribe makes a client get what else it wants, and returns how that begins.
func (h *Hub) subscribe(ctx context.Context, c *client) (b burst) {
	if !h.samplers.join(c) {
		b = append(b, Message{Type: "error", AsOf: time.Now().UTC(), Detail: tooManySamplers}.pack())
	}
	switch {
	case c.wants.dimensions == 0:
	case h.values == nil:
		// A new epoch brings them, unless it is on its way. While there is none, the picture
		// of the first is under way, which may be without them, or will be begun.
		switch s := h.survey; {
		case s != nil && s.withValues:
		case h.live:
			h.begin(ctx, widened)
		case s != nil:
			h.begin(ctx, s.reason)
		}
	case h.live:
		h.values.trim(windowStart(time.Now()))
		for _, p := range h.tops(c.lane, h.values.top(c.wants.dimensions), c.wants.dimensions) {
			b = append(b, p)
		}
	}
	return b
}
