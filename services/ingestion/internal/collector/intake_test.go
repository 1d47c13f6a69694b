package collector

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/agent"
	"weir/services/shared/event"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sent(contentType string) *Request {
	return NewRequest(nil, &http.Request{URL: &url.URL{}, Header: http.Header{"Content-Type": {contentType}}})
}

func TestEventsAreCompletedBeforeTheyAreJudged(t *testing.T) {
	t.Parallel()
	events := Events{Agent: agent.Agent{Device: "mobile", Browser: "Firefox", OS: "Android"}}
	events.Add(`{"type":"a","user_id":"u"}`, nil)
	events.Add(`{"type":"a","user_id":"u","id":"m1","time":"2026-03-01T11:00:00Z","device":"tv"}`, nil)
	events.Add("", event.Invalid{{Field: "", Rule: "is too large"}})
	events.Add(`{"type":"A","id":"m1"}`, nil)
	events.Add(`{"type":"A"`, nil)
	b := take(&events, "web", 1, now)
	require.Equal(t, 2, b.accepted)
	require.Len(t, b.messages, 2)
	require.Contains(t, b.messages[0].Payload, `"time":"2026-03-01T12:00:00Z","source":"web","user_id":"u","device":"mobile","browser":"Firefox","os":"Android"`)
	require.Contains(t, b.messages[1].Payload, event.DeriveID(now.Add(-time.Hour), "web", "m1").String())
	require.Contains(t, b.messages[1].Payload, `"device":"tv"}`)
	require.Equal(t, event.Invalid{{Field: "", Rule: "is too large"}}, b.results[2].Errors)
	var fields []string
	for _, f := range b.results[3].Errors {
		fields = append(fields, f.Field)
	}
	require.ElementsMatch(t, []string{"type", "time", "user_id"}, fields)
	require.Len(t, b.results[4].Errors, 1, "of what cannot be read nothing more is said")
}

// A body of 10 MiB can hold millions of events of one byte.
func TestABodyIsSplitNoFurtherThanMaxEvents(t *testing.T) {
	for contentType, bodies := range map[string][2]string{
		typeJSON:   {"[1" + strings.Repeat(",1", MaxEvents-1) + "]", "[" + strings.Repeat("1,", MaxEvents+1) + strings.Repeat("1,", 4<<20)},
		typeNDJSON: {strings.Repeat("1\n", MaxEvents), strings.Repeat("1\n", 4<<20)},
	} {
		events, err := split(sent(contentType), bodies[0])
		require.NoError(t, err)
		require.Len(t, events.Payloads, MaxEvents)

		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = split(sent(contentType), bodies[1])
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, "at most 20000")
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
	}
}

// FuzzTake: whatever a body holds, it is refused as a whole or each of its events has
// one result, and those accepted, and no others, are on their way.
func FuzzTake(f *testing.F) {
	for _, contentType := range []string{typeJSON, typeNDJSON, typeText, "application/json; charset=utf-8", ";"} {
		f.Add(contentType, `{"type":"a","user_id":"u"}`)
		f.Add(contentType, `[{"type":"a","user_id":"u","id":"m","time":"2026-03-01T11:00:00Z"},{"type":"B"},7,null]`)
		f.Add(contentType, "{\"type\":\"a\"}\n\n{\"user_id\":\"\xff\"}\r\n"+strings.Repeat("[", 100))
	}
	f.Fuzz(func(t *testing.T, contentType, body string) {
		events, err := split(sent(contentType), body)
		if err != nil {
			return
		}
		b := take(&events, "", 4, now)
		require.Len(t, b.results, len(events.Payloads))
		require.Len(t, b.messages, b.accepted)
		next := 0
		for i, r := range b.results {
			require.Equal(t, i, r.Index)
			if r.Status == rejected {
				require.NotEmpty(t, r.Errors)
				continue
			}
			var e event.Event
			require.Empty(t, e.Validate(now, e.Parse(b.messages[next].Payload)), "the consumer would refuse it")
			require.Equal(t, r.ID, e.ID.String())
			next++
		}
		require.Equal(t, b.accepted, next)
	})
}

func BenchmarkTake(b *testing.B) {
	events := &Events{Payloads: make([]string, 100)}
	for i := range events.Payloads {
		events.Payloads[i] = fmt.Sprintf(`{"id":"m%d","type":"page_view","time":"2026-03-01T11:59:00Z","user_id":"u%d","path":"/products/%d","country":"DE","properties":{"a":1}}`, i, i, i)
	}
	b.ReportAllocs()
	for b.Loop() {
		take(events, "web", 1, now)
	}
	b.ReportMetric(float64(b.N*len(events.Payloads))/b.Elapsed().Seconds(), "events/s")
}
