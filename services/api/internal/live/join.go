package live

import (
	"context"
	"time"
)

// join is a client that asks to take part, and where it left off, if it did.
type join struct {
	client *client
	resume *place
}

// change is a client that wants something else from now on.
type change struct {
	client *client
	wants  Subscription
}

// add makes c take part; what it has to be told first is in its buffer then. It
// reports false after the end.
func (h *Hub) add(c *client, resume *place) bool {
	select {
	case h.joins <- join{c, resume}:
		return true
	case <-h.done:
		return false
	}
}

// change replaces what c wants.
func (h *Hub) change(c *client, wants Subscription) {
	select {
	case h.changes <- change{c, wants}:
	case <-h.done:
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

func (h *Hub) admit(ctx context.Context, j join) {
	h.serving.Add(1)
	h.clients[j.client] = struct{}{}
	h.metrics.clients.Set(float64(len(h.clients)))
	b := h.welcome(j.client, j.resume)
	h.send(j.client, append(b, h.subscribe(ctx, j.client)...))
}

func (h *Hub) resubscribe(ctx context.Context, c change) {
	if _, here := h.clients[c.client]; !here {
		return // it was let go meanwhile
	}
	had := c.client.wants.Metrics
	c.client.wants = c.wants
	b := burst{Message{Type: "subscribed", Epoch: h.epoch, Seq: h.seq, AsOf: time.Now().UTC(), Subscription: &c.wants}.pack()}
	if c.wants.Metrics && !had {
		b = append(b, h.welcome(c.client, nil)...)
	}
	h.send(c.client, append(b, h.subscribe(ctx, c.client)...))
}

// welcome is where a client's numbers begin.
func (h *Hub) welcome(c *client, resume *place) burst {
	switch {
	case h.live:
	case h.epoch == "":
		return nil // just started: the snapshot, which is on its way, is the first message
	default:
		return burst{h.stale()} // the snapshot follows when Redis is back
	}
	if !c.wants.Metrics {
		return burst{h.heartbeat()}
	}
	if resume != nil && resume.epoch == h.epoch {
		if missed, ok := h.ring.since(resume.seq); ok {
			return append(missed, h.heartbeat())
		}
	}
	return burst{h.snapshotMessage()}
}

// subscribe makes a client get what else it wants, and returns how that begins.
func (h *Hub) subscribe(ctx context.Context, c *client) (b burst) {
	if !h.samplers.join(c) {
		b = append(b, Message{Type: "error", AsOf: time.Now().UTC(), Detail: tooManySamplers}.pack())
	}
	switch {
	case c.wants.dimensions == 0:
	case h.values == nil:
		// A new epoch brings them, unless it is on its way.
		if h.live && (h.survey == nil || h.survey.reason == comparing || !h.survey.withValues) {
			h.begin(ctx, widened)
		}
	case h.live:
		for _, p := range h.tops(c.wants.dimensions) {
			b = append(b, p)
		}
	}
	return b
}
