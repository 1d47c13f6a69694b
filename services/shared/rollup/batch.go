package rollup

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/services/shared/event"
)

// Batch is the message that tells the live feed of one committed batch.
type Batch struct {
	// XID is the transaction that committed the batch. A reader that took a
	// snapshot of the database knows by it whether the snapshot has the batch.
	XID    uint64
	Deltas []Delta // of the minutes since LiveSince
	// Sample is some of the batch's events, as JSON, of which the live feed shows
	// some. It is small whatever the batch is, and may be empty.
	Sample []json.RawMessage
}

// LiveMinutes is how far back the live feed reaches, the minute under way included.
const LiveMinutes = 60

// LiveSince is the first minute (since 1970) that a consumer tells the live feed of at t:
// twice as far back as the feed reaches, as the clocks of consumer and api may differ.
// When history is loaded nearly each event has lines of its own, which the feed would
// throw away.
func LiveSince(t time.Time) int32 { return int32(t.Unix()/60) - 2*LiveMinutes }

// Channel is the Redis Pub/Sub channel of a stream's batches.
func Channel(stream string) string { return stream + ":live" }

// Flushed is the Redis key beside a channel under which consumers leave when a batch was
// last committed, in Unix milliseconds: who was not listening then finds it there.
func Flushed(channel string) string { return channel + ":flushed" }

// AppendJSON appends the message in its wire form, a compact one: at full speed a
// batch has thousands of deltas.
//
//	{"xid":17,"deltas":[[29539440,0,"page_view","",12,0], ...],"sample":[{"id":...}, ...]}
//
// Each delta is minute, dimension, type, value, events, sum in millionths. Without a
// sample there is no such member.
func (b *Batch) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"xid":`...)
	dst = strconv.AppendUint(dst, b.XID, 10)
	dst = append(dst, `,"deltas":[`...)
	for i := range b.Deltas {
		d := &b.Deltas[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		dst = strconv.AppendInt(dst, int64(d.Minute), 10)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, int64(d.Key.Dimension), 10)
		dst = append(dst, ',')
		dst = event.AppendString(dst, d.Key.Type)
		dst = append(dst, ',')
		dst = event.AppendString(dst, d.Key.Value)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, d.Events, 10)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, d.Value, 10)
		dst = append(dst, ']')
	}
	dst = append(dst, ']')
	for i, e := range b.Sample {
		dst = append(dst, [2]string{`,"sample":[`, ","}[min(i, 1)]...)
		dst = append(dst, e...)
	}
	if len(b.Sample) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// UnmarshalJSON reads the wire form. Deltas of dimensions that this build does not know are
// left out: consumers are replaced before the api, and theirs may count by one more.
func (b *Batch) UnmarshalJSON(data []byte) error {
	var wire struct {
		XID    uint64            `json:"xid"`
		Deltas json.RawMessage   `json:"deltas"`
		Sample []json.RawMessage `json:"sample"`
	}
	err := json.Unmarshal(data, &wire)
	if err == nil {
		b.XID, b.Sample = wire.XID, wire.Sample
		b.Deltas, err = parseDeltas(string(wire.Deltas))
	}
	if err != nil {
		return fmt.Errorf("read live batch: %w", err)
	}
	return nil
}

// parseDeltas reads the list of deltas as AppendJSON writes it, from JSON that is known to
// be valid. By encoding/json a delta took six allocations and three times as long
// (BenchmarkUnmarshal), and at full speed there are tens of thousands a second.
func parseDeltas(text string) ([]Delta, error) {
	p := parser{text: text, known: map[string]string{}}
	list := make([]Delta, 0, strings.Count(text, "["))
	p.take('[')
	for !p.failed && !p.has(']') {
		if len(list) > 0 {
			p.take(',')
		}
		p.take('[')
		d := Delta{Minute: int32(p.integer(32))}
		p.take(',')
		d.Key.Dimension = Dimension(p.integer(16))
		p.take(',')
		d.Key.Type = p.string()
		p.take(',')
		d.Key.Value = p.string()
		p.take(',')
		d.Events = p.integer(64)
		p.take(',')
		d.Value = p.integer(64)
		p.take(']')
		if d.Key.Dimension < 0 {
			return nil, fmt.Errorf("there is no dimension %d", d.Key.Dimension)
		}
		list = append(list, d)
	}
	if p.failed {
		return nil, errors.New("a delta is not six members: minute, dimension, type, value, events, sum")
	}
	return slices.DeleteFunc(list, func(d Delta) bool { return int(d.Key.Dimension) >= Dimensions }), nil
}

// parser goes through the list. After a fault it finds nothing more.
type parser struct {
	text   string
	known  map[string]string // the strings so far: most come again and again
	failed bool
}

func (p *parser) has(c byte) bool { return p.text != "" && p.text[0] == c }

func (p *parser) take(c byte) {
	if p.has(c) {
		p.text = p.text[1:]
	} else {
		p.failed = true
	}
}

func (p *parser) integer(bits int) int64 {
	end := 0
	for end < len(p.text) && p.text[end] != ',' && p.text[end] != ']' {
		end++
	}
	n, err := strconv.ParseInt(p.text[:end], 10, bits)
	p.failed = p.failed || err != nil
	p.text = p.text[end:]
	return n
}

// string returns a copy, or the whole message would stay in memory with it.
func (p *parser) string() string {
	end, escaped := 1, false
	for end < len(p.text) && p.text[end] != '"' {
		if p.text[end] == '\\' {
			escaped = true
			end++
		}
		end++
	}
	if !p.has('"') || end >= len(p.text) {
		p.failed = true
		return ""
	}
	raw := p.text[:end+1]
	p.text = p.text[end+1:]
	if escaped {
		return p.unescape(raw)
	}
	s, ok := p.known[raw[1:end]]
	if !ok {
		s = strings.Clone(raw[1:end])
		p.known[s] = s
	}
	return s
}

// unescape is apart because what json.Unmarshal fills is allocated.
func (p *parser) unescape(raw string) (s string) {
	p.failed = p.failed || json.Unmarshal([]byte(raw), &s) != nil
	return s
}
