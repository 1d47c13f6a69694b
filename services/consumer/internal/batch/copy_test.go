package batch

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/shared/event"
)

// edges are events at the limits of every field.
func edges() []event.Event {
	const most = event.MaxValue*event.Micro - 1
	values := []int64{
		0, 1, -1, 10, 99, 100, 101, 999_999, 1_000_000, -1_000_000, 1_000_001, 9_999_000_000, 9_999_999_999, 10_000_000_000,
		10_000_000_001, 10_000_000_100, 99_999_999_999_999, 100_000_000_000_000, 100_000_000_000_001, 12_345_678_901_234_567,
		most, -most, most / 10_000 * 10_000, 5_000_000_000_000,
	}
	random := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		values = append(values, random.Int64N(2*most)-most, random.Int64N(1_000_000_000))
	}
	var list []event.Event
	for i, v := range values {
		e := fixture.Event(i)
		e.Value, e.HasValue = v, true
		list = append(list, e)
	}
	for i, change := range []func(*event.Event){
		func(e *event.Event) { e.Time = event.MinTime },
		func(e *event.Event) { e.Time = event.MinTime.Add(time.Microsecond) },
		func(e *event.Event) { e.Time = e.Time.Add(999_999 * time.Microsecond) },
		func(e *event.Event) { e.UserID, e.AnonymousID, e.Path, e.Country = "", "a", "", "" },
		func(e *event.Event) {
			e.AnonymousID, e.SessionID, e.Referrer, e.Device, e.Browser, e.OS = "a", "s", "https://r/", "tv", "b", "o"
		},
		func(e *event.Event) { e.Path = "/Straße/日本語/🏞/é" },
		func(e *event.Event) { e.Path = "/a\"b\\c\n\t\r\x01\x7f" },
		func(e *event.Event) { e.UserID, e.Path = strings.Repeat("u", 256), strings.Repeat("é", 1024) },
		func(e *event.Event) { e.Properties = `{}` },
		func(e *event.Event) {
			e.Properties = `{"a":[1,2.50,-3e10,true,null,{"b":"\u00e9\n😀"}],"":"", "a b":1.000000000000000000000000001}`
		},
		func(e *event.Event) { e.Properties = `{"p":"` + strings.Repeat("x", event.MaxPropertiesSize-8) + `"}` },
	} {
		e := fixture.Event(len(values) + i)
		change(&e)
		list = append(list, e)
	}
	return list
}

func TestEveryFieldIsReadBackAsItWasSent(t *testing.T) {
	t.Parallel()
	pool := fixture.Pool(t, fixture.Box(t))
	events := edges()
	b := New()
	var payloads []string
	for _, e := range events {
		payloads = append(payloads, fixture.Payload(e))
	}
	b.Add(fixture.Chunk("s", 1, payloads...))
	b.Decode(fixture.Noon)
	require.Empty(t, b.Dead)
	require.Len(t, b.Rows, len(events))

	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	var parts []io.Reader
	for _, p := range b.Copy(0, len(b.Rows)) {
		parts = append(parts, bytes.NewReader(p))
	}
	_, err = conn.Conn().PgConn().CopyFrom(t.Context(), io.MultiReader(parts...), "COPY events ("+Columns+") FROM STDIN BINARY")
	require.NoError(t, err)

	for _, want := range events {
		var got event.Event
		var value *string
		var sameProperties bool
		properties := &want.Properties
		if want.Properties == "" {
			properties = nil
		}
		null := func(s *string) any { return (*nullable)(s) }
		err := conn.QueryRow(t.Context(), `
			SELECT id, time, type, source, user_id, anonymous_id, session_id, path, referrer, country, device, browser, os,
			       value::text, currency, properties IS NOT DISTINCT FROM $3::jsonb
			FROM events WHERE id = $1 AND time = $2`, [16]byte(want.ID), want.Time, properties).
			Scan((*[16]byte)(&got.ID), &got.Time, &got.Type, &got.Source, null(&got.UserID), null(&got.AnonymousID), null(&got.SessionID),
				null(&got.Path), null(&got.Referrer), null(&got.Country), null(&got.Device), null(&got.Browser), null(&got.OS),
				&value, null(&got.Currency), &sameProperties)
		require.NoError(t, err)
		require.True(t, sameProperties, want.Properties)
		got.Time, got.Properties = got.Time.UTC(), want.Properties
		if value != nil {
			require.Equal(t, string(event.AppendMicros(nil, want.Value)), *value)
			got.Value, got.HasValue = want.Value, true
		}
		require.Equal(t, want, got)
	}
}

// nullable reads NULL as "", and refuses to read ” as that: an empty field is NULL.
type nullable string

func (n *nullable) ScanText(v pgtype.Text) error {
	*n = "<empty instead of NULL>"
	if !v.Valid {
		*n = ""
	} else if v.String != "" {
		*n = nullable(v.String)
	}
	return nil
}
