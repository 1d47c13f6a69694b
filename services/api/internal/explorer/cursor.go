package explorer

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"weir/services/api/internal/filter"
	"weir/services/shared/event"
)

// position is a place in the order of the events: newest first, those of the same
// time by descending id. It stays right while events arrive, because it names an
// event and not a count of them.
type position struct {
	time time.Time
	id   event.UUID
}

// end is before when all events are that come after the position: one without an id is before all
// of its time.
func (p position) end() time.Time {
	if p.id == (event.UUID{}) {
		return p.time
	}
	return p.time.Add(time.Microsecond)
}

// cursorVersion is the first byte of a cursor, so that a later form can be told
// from this one: then microseconds since 1970, big endian, the id, and the sum of the
// filter that it goes on with.
const cursorVersion = 2

const cursorSize = 1 + 8 + 16 + 8

// sum tells filters apart: going on with another one would leave out what the pages
// before would have had of it.
func sum(in filter.Input) (s [8]byte) {
	h := sha256.New()
	for _, text := range []string{in.Filter, in.Type, in.Source} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		h.Write([]byte(text))
	}
	copy(s[:], h.Sum(nil))
	return s
}

func (p position) cursor(of [8]byte) string {
	b := make([]byte, 0, cursorSize)
	b = append(b, cursorVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(p.time.UnixMicro()))
	b = append(b, p.id[:]...)
	b = append(b, of[:]...)
	return base64.RawURLEncoding.EncodeToString(b)
}

var (
	errCursor = errors.New("must be a next_cursor that this operation gave")
	errFilter = errors.New("belongs to another filter: go on with the filter, type and source that it was given for, or begin without a cursor")
)

// parseCursor also refuses times that no event can have: the way back from the year
// 9999 would be long.
func parseCursor(s string, of [8]byte) (p position, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != cursorSize || b[0] != cursorVersion {
		return p, errCursor
	}
	p.time = time.UnixMicro(int64(binary.BigEndian.Uint64(b[1:]))).UTC()
	copy(p.id[:], b[9:])
	if [8]byte(b[25:]) != of {
		return p, errFilter
	}
	if p.time.Before(event.MinTime) || time.Until(p.time) > 2*event.MaxFuture {
		return p, errCursor
	}
	return p, nil
}
