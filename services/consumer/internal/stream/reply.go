package stream

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"weir/services/shared/event"
)

// go-redis makes a map and five strings of each entry. A consumer reads a thousand
// entries at a time and wants two strings of each, so it takes the reply as it is, and
// cuts it up: a few allocations a read.

// reply is the bytes of an answer. It is written to by go-redis.
type reply struct{ b []byte }

func (r *reply) Write(p []byte) (int, error) {
	r.b = append(r.b, p...)
	return len(p), nil
}

// ReadFrom keeps io.Copy from making a buffer of its own for each string.
func (r *reply) ReadFrom(from io.Reader) (n int64, err error) {
	for {
		if len(r.b) == cap(r.b) {
			r.b = append(r.b, 0)[:len(r.b)]
		}
		m, err := from.Read(r.b[len(r.b):cap(r.b)])
		r.b = r.b[:len(r.b)+m]
		n += int64(m)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

var errReply = errors.New("redis answered with something else than entries")

// parseEntries reads the answer to XREAD of one stream, in the protocol's version 2 or 3
// (https://redis.io/docs/latest/develop/reference/protocol-spec/). The entries share the
// memory of text. None is nil.
//
// An entry without the event's field keeps an empty payload, and so becomes a dead
// letter. Of traced entries the traces are told, each once where entries of it follow each
// other.
func parseEntries(text string) (list []Entry, traces []string, err error) {
	p := parser{text: text}
	kind, n := p.header()
	if kind == '_' || n < 0 {
		return nil, nil, p.err
	}
	if kind == '*' { // version 2: a list of pairs; version 3 has a map
		p.header()
	}
	p.bulk() // the stream's name
	_, n = p.header()
	if p.err != nil || n < 0 || n > len(text)/8 {
		return nil, nil, errReply
	}
	list = make([]Entry, 0, n)
	for range n {
		p.header()
		e := Entry{ID: p.bulk()}
		_, fields := p.header()
		for i := 0; i+1 < fields && p.err == nil; i += 2 {
			switch name, value := p.bulk(), p.bulk(); name {
			case event.Field:
				e.Payload = value
			case event.TraceField:
				if last := len(traces) - 1; last < maxTraces-1 && (last < 0 || traces[last] != value) {
					traces = append(traces, value)
				}
			}
		}
		if p.err != nil {
			return nil, nil, p.err
		}
		list = append(list, e)
	}
	return list, traces, nil
}

// maxTraces bounds the traces of a read, to as many as a span has links by default.
const maxTraces = 128

// parser goes through a reply.
type parser struct {
	text string
	err  error
}

// header reads a line: what kind of value follows, and its length.
func (p *parser) header() (kind byte, n int) {
	line, rest, ok := strings.Cut(p.text, "\r\n")
	if !ok || line == "" {
		p.err = errReply
		return 0, 0
	}
	p.text = rest
	if line == "_" {
		return '_', 0
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil {
		p.err = errReply
	}
	return line[0], n
}

func (p *parser) bulk() string {
	kind, n := p.header()
	if kind != '$' || n < 0 || len(p.text) < n+2 {
		p.err = errReply
		return ""
	}
	s := p.text[:n]
	p.text = p.text[n+2:]
	return s
}
