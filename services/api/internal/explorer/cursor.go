package explorer

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"weir/services/shared/event"
)

// position is a place in the order of the events: newest first, those of the same
// time by descending id. It stays right while events arrive, because it names an
// event and not a count of them.
type position struct {
	time time.Time
	id   event.UUID
}

// cursorVersion is the first byte of a cursor, so that a later form can be told
// from this one: then microseconds since 1970, big endian, and the id.
const cursorVersion = 1

const cursorSize = 1 + 8 + 16

func (p position) cursor() string {
	b := make([]byte, 0, cursorSize)
	b = append(b, cursorVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(p.time.UnixMicro()))
	b = append(b, p.id[:]...)
	return base64.RawURLEncoding.EncodeToString(b)
}

var errCursor = errors.New("must be a next_cursor that this operation gave")

// parseCursor also refuses times that no event can have: the way back from the year
// 9999 would be long.
func parseCursor(s string) (p position, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != cursorSize || b[0] != cursorVersion {
		return p, errCursor
	}
	p.time = time.UnixMicro(int64(binary.BigEndian.Uint64(b[1:]))).UTC()
	copy(p.id[:], b[9:])
	if p.time.Before(event.MinTime) || time.Until(p.time) > 2*event.MaxFuture {
		return p, errCursor
	}
	return p, nil
}
