package live

import (
	"encoding/json"
	"time"

	"weir/services/api/internal/decimal"
)

// Message is what the server sends.
type Message struct {
	Type    string    `json:"type" enum:"snapshot,delta,heartbeat,stale,pong" doc:"snapshot: the whole window, replace what you have; delta: add minutes to what you have; heartbeat: nothing changed, sent regularly and after a resume; stale: the server lost touch with the stream, what you have is no longer current until the next snapshot; pong: the answer to a ping"`
	Epoch   string    `json:"epoch,omitempty" doc:"Names the sequence; a new one begins with a snapshot" example:"b3f0c9d25a417e68"`
	Seq     uint64    `json:"seq" doc:"Position in the epoch: a snapshot holds everything up to it, each delta is one more" example:"17"`
	AsOf    time.Time `json:"as_of" doc:"When the message was made"`
	From    time.Time `json:"from,omitzero" doc:"First minute of the window: forget those before it"`
	Minutes []minute  `json:"minutes,omitzero" doc:"The counts of a snapshot, or what a delta adds to them"`
	Totals  *totals   `json:"totals,omitempty" doc:"Over the window, after this message"`
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

// encode cannot fail: a Message holds nothing that JSON has no form for.
func (m Message) encode() []byte {
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}
