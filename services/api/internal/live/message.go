package live

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/gobwas/ws"

	"weir/services/api/internal/decimal"
)

// Message is what the server sends.
type Message struct {
	Type    string    `json:"type" enum:"snapshot,delta,top,events,heartbeat,stale,subscribed,error,pong" doc:"snapshot: the whole window, replace what you have; delta: add minutes to what you have; top: the most frequent values of a dimension, replace what you have of it; events: some of the events that were just stored; heartbeat: nothing changed, sent regularly and after a resume; stale: the server lost touch with the stream, what you have is no longer current until the next snapshot or heartbeat; subscribed: what you get from now on; error: what you asked for cannot be had; pong: the answer to a ping"`
	Epoch   string    `json:"epoch,omitempty" doc:"Names the sequence; a new one begins with a snapshot" example:"b3f0c9d25a417e68"`
	Seq     uint64    `json:"seq" doc:"Position in the epoch: a snapshot holds everything up to it, each delta is one more" example:"17"`
	AsOf    time.Time `json:"as_of" doc:"When the message was made"`
	From    time.Time `json:"from,omitzero" doc:"First minute of the window: forget those before it"`
	Minutes []minute  `json:"minutes,omitzero" doc:"The counts of a snapshot, or what a delta adds to them"`
	Totals  *totals   `json:"totals,omitempty" doc:"Over the window, after this message"`

	Dimension string  `json:"dimension,omitempty" doc:"Of a top" example:"path"`
	Top       []share `json:"top,omitzero" doc:"Over the window, as of seq, most events first; ten at most"`
	Partial   bool    `json:"partial,omitempty" doc:"There were more different values than the server keeps: rare ones may be missing from their counts"`

	Events       []json.RawMessage `json:"events,omitzero" doc:"A sample, not all; in the form in which they were sent"`
	Subscription *Subscription     `json:"subscription,omitempty" doc:"What was asked for, defaults filled in"`
	Detail       string            `json:"detail,omitempty" doc:"Of an error: what is wrong, and what to do"`
}

type minute struct {
	Minute time.Time      `json:"minute" doc:"Start of the minute in which the events happened"`
	Type   string         `json:"type" doc:"Type of the events" example:"page_view"`
	Events int64          `json:"events" example:"12"`
	Value  decimal.Micros `json:"value"`
}

type totals struct {
	Events int64          `json:"events" example:"1234"`
	Value  decimal.Micros `json:"value"`
}

// share is one of a dimension's values.
type share struct {
	Name   string `json:"name" doc:"The dimension's value that the events have in common" example:"/pricing"`
	Events int64  `json:"events" example:"42"`
}

// packet is a message made ready to be sent, shared by all who get it.
type packet struct {
	id   string // of the place that it leads to, for EventSource; "" without one
	data []byte
	// frame is data in a WebSocket frame.
	frame []byte
}

// burst is what is sent to a client in one go. A client's buffer holds bursts, so that
// answering a subscription takes one place in it.
type burst []*packet

// pack cannot fail: a Message holds nothing that JSON has no form for.
func (m Message) pack() *packet {
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	p := newPacket(data)
	if m.Epoch != "" {
		p.id = m.Epoch + ":" + strconv.FormatUint(m.Seq, 10)
	}
	return p
}

func newPacket(data []byte) *packet {
	frame := ws.MustCompileFrame(ws.NewTextFrame(data)) // fails for a Writer's sake only
	return &packet{data: frame[len(frame)-len(data):], frame: frame}
}
