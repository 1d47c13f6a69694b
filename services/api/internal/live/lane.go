package live

import (
	"maps"
	"time"
)

const (
	// laneSize is how many clients a lane takes before there is another.
	laneSize = 1000
	// maxLanes bounds what lanes keep; with as many, they take more clients.
	maxLanes = 10
	// laneRest is how long a lane without clients waits for one that comes back.
	laneRest = time.Minute
)

// lane is a sequence of updates, an epoch of its own, and the clients that get it. With
// few clients there is one lane. Many have several, which are told in turns: to tell 5,000
// at once takes two processors most of the interval, in which the consumer cannot go on,
// and what came right after has to wait for the whole of it.
type lane struct {
	clients map[*client]struct{}
	emptied time.Time // when the last client left

	epoch   string // begins with a picture of the database
	seq     uint64 // of the newest message of the epoch
	state   window // as of seq
	pending window // counted since, not yet sent
	ring    ring

	snapshot     *packet // the snapshot message of seq and snapshotFrom, if made
	snapshotFrom int32
}

func newLane() *lane { return &lane{clients: map[*client]struct{}{}, ring: ring{messages: maxRing}} }

// begin begins an epoch.
func (l *lane) begin(counts window, from int32) {
	l.epoch, l.seq = newEpoch(), 0
	l.state, l.pending = maps.Clone(counts), window{}
	l.state.trim(from)
	l.ring.reset(0)
	l.snapshot = nil
}

// next makes what is pending the next message of the epoch; nil if there is nothing.
func (l *lane) next(now time.Time) *packet {
	from := windowStart(now)
	l.state.trim(from)
	l.pending.trim(from)
	if len(l.pending) == 0 {
		return nil
	}
	l.state.addAll(l.pending)
	l.seq++
	m := l.message("delta", now)
	m.Minutes = l.pending.sorted()
	l.pending, l.snapshot = window{}, nil
	p := m.pack()
	l.ring.push(l.seq, p)
	return p
}

// message is the frame of what is said about the state as of seq.
func (l *lane) message(kind string, now time.Time) Message {
	sum := l.state.total()
	m := l.place(kind, now)
	m.From, m.Totals = timeOf(windowStart(now)), &totals{sum.events, sum.value}
	return m
}

// place is the frame of what is said at this place of the epoch.
func (l *lane) place(kind string, now time.Time) Message {
	return Message{Type: kind, Epoch: l.epoch, Seq: l.seq, AsOf: now.UTC()}
}

// snapshotMessage is made once for all clients that come between two updates.
func (l *lane) snapshotMessage() *packet {
	now := time.Now()
	if from := windowStart(now); l.snapshot == nil || l.snapshotFrom != from {
		l.state.trim(from)
		m := l.message("snapshot", now)
		m.Minutes = l.state.sorted()
		l.snapshot, l.snapshotFrom = m.pack(), from
	}
	return l.snapshot
}

func (l *lane) heartbeat() *packet {
	now := time.Now()
	l.state.trim(windowStart(now))
	return l.message("heartbeat", now).pack()
}

func (l *lane) stale() *packet { return l.place("stale", time.Now()).pack() }

// wanted are the dimensions that some client wants.
func (l *lane) wanted() (all dimensions) {
	for c := range l.clients {
		all |= c.wants.dimensions
	}
	return all
}

// lane finds a client's lane: the one where it left off, or the emptiest.
func (h *Hub) lane(resume *place) *lane {
	emptiest := h.lanes[0]
	for _, l := range h.lanes {
		if resume != nil && resume.epoch == l.epoch {
			return l
		}
		if len(l.clients) < len(emptiest.clients) {
			emptiest = l
		}
	}
	if len(emptiest.clients) < laneSize || len(h.lanes) == maxLanes {
		return emptiest
	}
	return h.widen()
}

// widen adds a lane, with all that the others know.
func (h *Hub) widen() *lane {
	l := newLane()
	if first := h.lanes[0]; first.epoch != "" {
		l.begin(first.known(), 0)
	}
	h.lanes = append(h.lanes, l)
	return l
}

// known is the state with what is pending.
func (l *lane) known() window {
	all := maps.Clone(l.state)
	all.addAll(l.pending)
	return all
}

// narrow lets go of lanes to which nobody comes back.
func (h *Hub) narrow() {
	kept := h.lanes[:1]
	for _, l := range h.lanes[1:] {
		if len(l.clients) > 0 || time.Since(l.emptied) < laneRest {
			kept = append(kept, l)
		}
	}
	clear(h.lanes[len(kept):])
	h.lanes = kept
}
