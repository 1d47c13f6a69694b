package live

import (
	"encoding/json"
	"fmt"
	"time"

	"weir/services/shared/event"
)

// maxSamplers bounds the different filters that one instance tries on every sampled
// event.
const maxSamplers = 100

var tooManySamplers = fmt.Sprintf("events: the clients of this instance have %d different filters already, as many as it takes; try again later", maxSamplers)

// samplers are what clients want to see of the events: one for all who want the same.
type samplers map[samplerKey]*sampler

type samplerKey struct {
	filter    string
	perSecond int
}

type sampler struct {
	key     samplerKey
	wants   Subscription
	clients map[*client]struct{}
	second  int64 // that left is for
	left    int
}

// join gives a client the sampler that it wants, and takes it out of the one that it
// had. It reports false when there are too many.
func (all samplers) join(c *client) bool {
	all.leave(c)
	key := samplerKey{c.wants.Filter, c.wants.Events}
	if key.perSecond == 0 {
		return true
	}
	s := all[key]
	if s == nil {
		if len(all) >= maxSamplers {
			return false
		}
		s = &sampler{key: key, wants: c.wants, clients: map[*client]struct{}{}}
		all[key] = s
	}
	c.sampler = s
	s.clients[c] = struct{}{}
	return true
}

func (all samplers) leave(c *client) {
	s := c.sampler
	if s == nil {
		return
	}
	c.sampler = nil
	delete(s.clients, c)
	if len(s.clients) == 0 {
		delete(all, s.key)
	}
}

// sample shows a batch's sampled events to those who want them.
func (h *Hub) sample(events []json.RawMessage) {
	if len(h.samplers) == 0 || len(events) == 0 {
		return
	}
	now := time.Now()
	parsed := make([]event.Event, len(events))
	for i := range events {
		_ = parsed[i].Parse(string(events[i])) // the consumer stored it: it is valid
	}
	for _, s := range h.samplers {
		chosen := s.choose(parsed, events, now.Unix())
		if len(chosen) == 0 {
			continue
		}
		bursts := map[*lane]burst{}
		for c := range s.clients {
			b := bursts[c.lane]
			if b == nil {
				m := c.lane.place("events", now)
				m.Events = chosen
				b = burst{m.pack()}
				bursts[c.lane] = b
			}
			h.send(c, b)
		}
	}
}

// choose takes the events that match, as many as the second has room for.
func (s *sampler) choose(parsed []event.Event, events []json.RawMessage, second int64) (chosen []json.RawMessage) {
	if s.second != second {
		s.second, s.left = second, s.key.perSecond
	}
	for i := range parsed {
		if s.left > 0 && s.wants.expr.Match(&parsed[i]) {
			chosen = append(chosen, events[i])
			s.left--
		}
	}
	return chosen
}
