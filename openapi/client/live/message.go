package live

import (
	"encoding/json"
	"fmt"
	"time"
)

// Message is what a client is told: a Snapshot, Delta, Top, Events, Heartbeat, Stale,
// Subscribed or Rejected of the server's, or a Lost of its own.
type Message interface{ message() }

// Place is a position in the feed.
type Place struct {
	Epoch string `json:"epoch,omitempty"` // names the sequence; a new one begins with a Snapshot
	Seq   uint64 `json:"seq"`             // a Snapshot holds everything up to it, each Delta is one more
}

// Snapshot is the whole window. It replaces all that came before.
type Snapshot struct {
	Place
	AsOf    time.Time `json:"as_of"`
	From    time.Time `json:"from"` // first minute of the window
	Minutes []Minute  `json:"minutes"`
	Totals  Totals    `json:"totals"` // the sum of the minutes
}

// Delta is an update. Its minutes are added to those there are; the minutes before From
// are forgotten; the sum of the rest is Totals.
type Delta Snapshot

// Minute counts the events of one type in one minute.
type Minute struct {
	Minute time.Time   `json:"minute"` // when the events happened
	Type   string      `json:"type"`
	Events int64       `json:"events"`
	Value  json.Number `json:"value"` // exact, with up to six decimal places
}

// Totals counts all events of the window.
type Totals struct {
	Events int64       `json:"events"`
	Value  json.Number `json:"value"` // exact, with up to six decimal places
}

// Top has the most frequent values of a dimension, ten at most. It replaces the last of
// that dimension.
type Top struct {
	Place
	AsOf      time.Time `json:"as_of"`
	From      time.Time `json:"from"`
	Dimension string    `json:"dimension"`
	Top       []Share   `json:"top"`               // most events first
	Partial   bool      `json:"partial,omitempty"` // rare values may be missing from their counts
}

// Share is one value of a dimension.
type Share struct {
	Name   string `json:"name"`
	Events int64  `json:"events"`
}

// Events are a sample of what was just stored, in the form in which it was sent.
type Events struct {
	Place
	AsOf   time.Time         `json:"as_of"`
	Events []json.RawMessage `json:"events"`
}

// Heartbeat comes regularly, and after a resume: what there is, is current.
type Heartbeat struct {
	Place
	AsOf   time.Time `json:"as_of"`
	From   time.Time `json:"from"`
	Totals Totals    `json:"totals"`
}

// Stale means that the server lost touch with the stream: what there is grows old until
// the next Snapshot or Heartbeat.
type Stale struct {
	Place
	AsOf time.Time `json:"as_of"`
}

// Subscribed says what is told from now on.
type Subscribed struct {
	Place
	AsOf         time.Time    `json:"as_of"`
	Subscription Subscription `json:"subscription"`
}

// Rejected means that something which was asked for cannot be had. The rest goes on.
type Rejected struct {
	Place
	AsOf   time.Time `json:"as_of"`
	Detail string    `json:"detail"` // what is wrong, and what to do
}

// Lost means that there is no connection: what there is grows old until the next Snapshot,
// Delta or Heartbeat.
type Lost struct {
	Err  error
	Wait time.Duration // until it is tried again
}

func (Snapshot) message()   {}
func (Delta) message()      {}
func (Top) message()        {}
func (Events) message()     {}
func (Heartbeat) message()  {}
func (Stale) message()      {}
func (Subscribed) message() {}
func (Rejected) message()   {}
func (Lost) message()       {}

// kinds read the server's messages, by the name that the protocol has for them.
var kinds = map[string]func([]byte) (Message, error){
	"snapshot":   read[Snapshot],
	"delta":      read[Delta],
	"top":        read[Top],
	"events":     read[Events],
	"heartbeat":  read[Heartbeat],
	"stale":      read[Stale],
	"subscribed": read[Subscribed],
	"error":      read[Rejected],
}

func read[M Message](data []byte) (Message, error) {
	var m M
	err := json.Unmarshal(data, &m)
	return m, err
}

// parse returns nil for a message of a kind that it does not know: a newer server's.
func parse(data []byte) (m Message, err error) {
	var kind struct {
		Type string `json:"type"`
	}
	if err = json.Unmarshal(data, &kind); err == nil && kinds[kind.Type] != nil {
		m, err = kinds[kind.Type](data)
	}
	if err != nil {
		return nil, fmt.Errorf("the live feed sent what cannot be read: %w", err)
	}
	return m, nil
}
