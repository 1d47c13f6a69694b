package segment

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"weir/services/shared/event"
)

func TestMessagesBecomeEvents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ kind, message, event string }{
		"track": {"", `{"type":"track","messageId":"m1","timestamp":"2026-01-02T15:04:05.123Z","sentAt":"2026-01-02T15:09:00Z","userId":"u1","event":"Order Completed","properties":{"revenue":"$49.95","currency":"eur"}}`,
			`{"id":"m1","type":"order_completed","time":"2026-01-02T15:04:05.123Z","user_id":"u1","value":49.95,"currency":"EUR","properties":{"currency":"eur","revenue":"$49.95","segment":{"event":"Order Completed"}}}`},
		"the path decides": {"page", `{"type":"track","anonymousId":"a1","name":"Home","properties":{"url":"https://x.example/y?z=1","title":"T"}}`,
			`{"type":"page_view","anonymous_id":"a1","path":"/y","properties":{"title":"T","url":"https://x.example/y?z=1","segment":{"name":"Home"}}}`},
		"numbers as ids, a zone without a colon": {"identify", `{"userId":17,"timestamp":"2026-01-02T15:04:05+0200","traits":{"plan":"pro"}}`,
			`{"type":"identify","time":"2026-01-02T13:04:05Z","user_id":"17","properties":{"plan":"pro"}}`},
		"what no dimension can hold stays in the context": {"track", `{"userId":"u","event":"a","properties":{"value":"many","segment":1},"context":{"ip":"192.0.2.1","location":{"country":"Germany"},"page":{"path":{}}}}`,
			`{"type":"a","user_id":"u","properties":{"segment":1,"segment_":{"event":"a","context":{"location":{"country":"Germany"},"page":{"path":{}}}},"value":"many"}}`},
		"an amount beyond the range stays a property": {"track", `{"userId":"u","event":"a","properties":{"revenue":1e300,"value":7}}`,
			`{"type":"a","user_id":"u","value":7,"properties":{"revenue":1e300,"value":7,"segment":{"event":"a"}}}`},
		"an app": {"screen", `{"userId":"u","name":"Cart","context":{"os":{"name":"Android"},"device":{"type":"android"},"sessionId":1712}}`,
			`{"type":"screen_view","user_id":"u","session_id":"1712","path":"Cart","device":"mobile","os":"Android","properties":{"segment":{"name":"Cart","context":{"device":{"type":"android"},"os":{"name":"Android"},"sessionId":1712}}}}`},
		"nulls are absent": {"track", `{"userId":null,"anonymousId":"a","event":"a","properties":null,"context":null,"timestamp":null}`,
			`{"type":"a","anonymous_id":"a","properties":{"segment":{"event":"a"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payload, faults := translate(c.kind, c.message, nil)
			require.Empty(t, faults)
			require.JSONEq(t, c.event, payload)
			again, _ := translate(c.kind, c.message, nil)
			require.Equal(t, payload, again, "the same message is the same event")
		})
	}
}

func TestTheContextIsLeftOutWhereItDoesNotFit(t *testing.T) {
	t.Parallel()
	properties := `"` + strings.Repeat("x", 15<<10) + `"`
	payload, faults := translate("track", `{"userId":"u","event":"a","properties":{"x":`+properties+`},"context":{"y":"`+strings.Repeat("y", 2<<10)+`"}}`, nil)
	require.Empty(t, faults)
	require.Contains(t, payload, properties)
	require.Contains(t, payload, `"segment":{"event":"a"}`)
	require.NotContains(t, payload, "yyy")
}

// FuzzTranslate: whatever a message holds, there is a fault, or JSON that package event
// can judge; and the same message gives the same event.
func FuzzTranslate(f *testing.F) {
	f.Add("", `{"type":"track","messageId":"m1","timestamp":"2026-01-02T15:04:05.123Z","userId":"u1","event":"Order Completed","properties":{"revenue":49.95,"currency":"EUR"},"context":{"page":{"path":"/"},"userAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"}}`)
	f.Add("page", `{"anonymousId":"a","name":"\u0000\ud800","properties":{"url":"%zz","path":7,"x":1e999}}`)
	f.Add("track", `{"userId":"u","event":"a","event":"b","timestamp":"0000-01-01T00:00:00Z","properties":`+strings.Repeat(`{"a":`, 100)+`1`+strings.Repeat(`}`, 100)+`}`)
	f.Add("track", `{"userId":"u","timestamp":"10000-01-01T00:00:00Z"}`)
	f.Add("group", "{\"userId\":\"\xff\"}")
	f.Fuzz(func(t *testing.T, kind, message string) {
		payload, faults := translate(kind, message, nil)
		if faults != nil {
			return
		}
		again, _ := translate(kind, message, nil)
		require.Equal(t, payload, again)
		require.True(t, json.Valid([]byte(payload)), payload)
		require.True(t, utf8.ValidString(payload))
		var e event.Event
		e.Validate(time.Now(), e.Parse(payload))
	})
}
