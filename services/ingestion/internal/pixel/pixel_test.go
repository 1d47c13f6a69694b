package pixel

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/collector"
	"weir/services/shared/event"
)

func request(query, referer, userAgent, address string) *collector.Request {
	return collector.NewRequest(nil, &http.Request{
		URL: &url.URL{RawQuery: query}, RemoteAddr: address, Header: http.Header{"Referer": {referer}, "User-Agent": {userAgent}},
	})
}

func TestQueriesBecomeEvents(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"user_id=u1": `{"user_id":"u1","type":"page_view","path":"/page"}`,
		"type=open&anonymous_id=a&path=/x&value=7.5": `{"anonymous_id":"a","path":"/x","type":"open","value":7.5}`,
		"user_id=u&campaign=a%20b&n=1&write_key=k":   `{"user_id":"u","properties":{"campaign":"a b","n":"1"},"type":"page_view","path":"/page"}`,
		`user_id=u&properties={"a":1}`:               `{"properties":{"a":1},"user_id":"u","type":"page_view","path":"/page"}`,
		"user_id=u&value=much":                       `{"user_id":"u","value":"much","type":"page_view","path":"/page"}`,
	} {
		events, err := decode(request(query, "https://example.com/page?x=1", "", "192.0.2.1:1"), newVisitors())
		require.NoError(t, err)
		require.JSONEq(t, want, events.Payloads[0], query)
	}
	_, err := decode(request("a=%zz", "", "", ""), newVisitors())
	require.Error(t, err)
}

func TestVisitorsAreToldApartForADay(t *testing.T) {
	t.Parallel()
	v := newVisitors()
	one := v.of(request("", "", "Firefox", "192.0.2.1:1000"))
	require.Equal(t, one, v.of(request("", "", "Firefox", "192.0.2.1:2000")))
	require.NotEqual(t, one, v.of(request("", "", "Safari", "192.0.2.1:1000")))
	require.NotEqual(t, one, v.of(request("", "", "Firefox", "192.0.2.2:1000")))
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, v.today(day), v.today(day.Add(24*time.Hour-1)))
	require.NotEqual(t, v.today(day), v.today(day.Add(24*time.Hour)))
}

// FuzzQuery: whatever a query holds, it is refused, or JSON that package event can judge.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"type=open&user_id=u1&value=1e999", "user_id=%00&user_id=%ff", `properties={"a":1&properties=[]`, "time=0000-01-01T00:00:00Z&id=1", "%zz", "a;b", "value=&value=1",
	} {
		f.Add(query, "https://example.com/page")
	}
	visitors := newVisitors()
	f.Fuzz(func(t *testing.T, query, referer string) {
		events, err := decode(request(query, referer, "x", "192.0.2.1:1"), visitors)
		if err != nil {
			return
		}
		require.True(t, json.Valid([]byte(events.Payloads[0])), events.Payloads[0])
		var e event.Event
		e.Validate(time.Now(), e.Parse(events.Payloads[0]))
	})
}
