package batch

import (
	"encoding/binary"
	"time"

	"weir/services/shared/event"
)

// Columns are the columns of a row, in order.
const Columns = "id, time, type, source, user_id, anonymous_id, session_id, path, referrer, country, device, browser, os, value, currency, properties"

const columns = 16

// The format is described in PostgreSQL's documentation of COPY, "Binary Format";
// the fields are what each type's receive function reads. Writing it here, instead
// of through a driver's row interface, saves boxing 16 values an event.
var (
	copyHeader  = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	copyTrailer = []byte{0xff, 0xff}
)

var pgEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func pgTime(t time.Time) int64 { return t.UnixMicro() - pgEpoch }

func appendRow(dst []byte, e *event.Event) []byte {
	dst = binary.BigEndian.AppendUint16(dst, columns)
	dst = append(dst, 0, 0, 0, 16)
	dst = append(dst, e.ID[:]...)
	dst = append(dst, 0, 0, 0, 8)
	dst = binary.BigEndian.AppendUint64(dst, uint64(pgTime(e.Time)))
	dst = appendText(dst, e.Type)
	dst = appendText(dst, e.Source)
	dst = appendText(dst, e.UserID)
	dst = appendText(dst, e.AnonymousID)
	dst = appendText(dst, e.SessionID)
	dst = appendText(dst, e.Path)
	dst = appendText(dst, e.Referrer)
	dst = appendText(dst, e.Country)
	dst = appendText(dst, e.Device)
	dst = appendText(dst, e.Browser)
	dst = appendText(dst, e.OS)
	if e.HasValue {
		dst = appendNumeric(dst, e.Value)
	} else {
		dst = appendNull(dst)
	}
	dst = appendText(dst, e.Currency)
	if e.Properties == "" {
		return appendNull(dst)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+len(e.Properties)))
	dst = append(dst, 1) // version of jsonb's binary format
	return append(dst, e.Properties...)
}

// DeadColumns are the columns of dead_letters that AppendDeadCopy fills, in order.
const DeadColumns = "stream, stream_id, payload, stage, reason, attempts, arrived_at"

// AppendDeadCopy appends dead letters of a first attempt in COPY's binary format.
func AppendDeadCopy(dst []byte, dead []DeadLetter) []byte {
	dst = append(dst, copyHeader...)
	for i := range dead {
		d := &dead[i]
		dst = append(dst, 0, 7)
		for _, field := range []string{d.Stream, d.Entry.ID, d.Entry.Payload, string(d.Stage), d.Reason} {
			dst = binary.BigEndian.AppendUint32(dst, uint32(len(field)))
			dst = append(dst, field...)
		}
		dst = append(dst, 0, 0, 0, 4, 0, 0, 0, 1) // attempts
		dst = append(dst, 0, 0, 0, 8)
		dst = binary.BigEndian.AppendUint64(dst, uint64(pgTime(d.Entry.Time())))
	}
	return append(dst, copyTrailer...)
}

func appendNull(dst []byte) []byte { return append(dst, 0xff, 0xff, 0xff, 0xff) }

// appendText appends a text field; an empty one is NULL.
func appendText(dst []byte, s string) []byte {
	if s == "" {
		return appendNull(dst)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// appendNumeric appends millionths as a numeric: groups of four decimal digits, of
// which weight+1 stand before the point.
func appendNumeric(dst []byte, micros int64) []byte {
	const negative = 0x4000
	sign, u := uint16(0), uint64(micros)
	if micros < 0 {
		sign, u = negative, -u
	}
	whole, fraction := u/event.Micro, u%event.Micro
	groups := [5]uint16{
		uint16(whole / 1e8), uint16(whole / 1e4 % 1e4), uint16(whole % 1e4),
		uint16(fraction / 100), uint16(fraction % 100 * 100),
	}
	scale := uint16(6)
	for f := fraction; scale > 0 && f%10 == 0; f /= 10 {
		scale--
	}
	first, last := 0, len(groups)
	for last > 0 && groups[last-1] == 0 {
		last--
	}
	for first < last && groups[first] == 0 {
		first++
	}
	weight := 2 - first
	if first == last { // zero
		sign, weight = 0, 0
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(8+2*(last-first)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(last-first))
	dst = binary.BigEndian.AppendUint16(dst, uint16(int16(weight)))
	dst = binary.BigEndian.AppendUint16(dst, sign)
	dst = binary.BigEndian.AppendUint16(dst, scale)
	for _, g := range groups[first:last] {
		dst = binary.BigEndian.AppendUint16(dst, g)
	}
	return dst
}
