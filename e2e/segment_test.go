package e2e

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/analytics-go/v3"
	"github.com/stretchr/testify/require"

	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
)

// lossy passes requests on to ingestion, and loses the first answers after the service
// has given them: the client cannot know that its events were taken.
func lossy(t *testing.T, to string, losses int32) (address string, served *atomic.Int32) {
	t.Helper()
	target, err := url.Parse(to)
	require.NoError(t, err)
	served = new(atomic.Int32)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if served.Add(1) <= losses {
			panic(http.ErrAbortHandler) // closes the client's connection
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL, served
}

func keys(list ...string) setting {
	return func(_ *api.Config, _ *consumer.Config, i *ingestion.Config) { i.WriteKeys = list }
}

func TestSegmentsSDKSendsUnchangedAndItsRetriesStayOneRow(t *testing.T) {
	t.Parallel()
	w := start(t, keys("web-shop=secret"))
	endpoint, served := lossy(t, w.ingestion, 3)
	outcome := &callback{done: make(chan struct{}, 1000)}
	client, err := analytics.NewWithConfig("secret", analytics.Config{
		Endpoint: endpoint, Interval: time.Hour, BatchSize: 7, Callback: outcome,
		RetryAfter: func(int) time.Duration { return 10 * time.Millisecond },
		Logger:     analytics.StdLogger(log.New(io.Discard, "", 0)),
	})
	require.NoError(t, err)
	at := time.Now().Add(-time.Hour)
	page := analytics.PageInfo{Path: "/checkout", Referrer: "https://www.example.com/", URL: "https://shop.example.com/checkout"}
	context := &analytics.Context{
		Page: page, Location: analytics.LocationInfo{Country: "DE"}, IP: []byte{192, 0, 2, 1},
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
	}
	messages := []analytics.Message{
		analytics.Track{UserId: "u1", Event: "Order Completed", Timestamp: at, Context: context,
			Properties: analytics.NewProperties().SetRevenue(49.95).SetCurrency("EUR").Set("order", "A-1")},
		analytics.Page{AnonymousId: "a1", Name: "Home", Properties: analytics.NewProperties().SetPath("/").SetReferrer("https://search.example.com/")},
		analytics.Screen{UserId: "u1", Name: "Settings", Context: &analytics.Context{OS: analytics.OSInfo{Name: "iOS"}, Device: analytics.DeviceInfo{Type: "ios"}}},
		analytics.Identify{UserId: "u1", Traits: analytics.NewTraits().SetEmail("u1@example.com")},
		analytics.Group{UserId: "u1", GroupId: "g1", Traits: analytics.NewTraits().SetName("Example")},
		analytics.Alias{UserId: "u1", PreviousId: "a1"},
	}
	for range 15 {
		messages = append(messages, analytics.Track{UserId: "u2", Event: "Song Played"})
	}
	for _, m := range messages {
		require.NoError(t, client.Enqueue(m))
	}
	for range messages { // three batches of seven, each lost once
		<-outcome.done
	}
	require.NoError(t, client.Close())
	require.Zero(t, outcome.failed.Load())
	require.EqualValues(t, 6, served.Load(), "every batch was sent twice")

	reach(t, w.pool, int64(len(messages)), `SELECT count(*) FROM events`)
	settle(t, w)
	require.EqualValues(t, len(messages), number(t, w.pool, `SELECT count(*) FROM events WHERE source = 'web-shop'`))
	rollupsEqualRaw(t, w.pool)
	require.EqualValues(t, 1, number(t, w.pool, `
		SELECT count(*) FROM events WHERE type = 'order_completed' AND user_id = 'u1' AND time = $1 AND value = 49.95 AND currency = 'EUR'
			AND path = '/checkout' AND referrer = 'https://www.example.com/' AND country = 'DE'
			AND device = 'desktop' AND browser = 'Firefox' AND os = 'Linux'
			AND properties ->> 'order' = 'A-1' AND properties -> 'segment' ->> 'event' = 'Order Completed'
			AND properties -> 'segment' -> 'context' ? 'library' AND NOT properties -> 'segment' -> 'context' ? 'ip'`, at.Truncate(time.Microsecond)))
	for _, where := range []string{
		`type = 'page_view' AND anonymous_id = 'a1' AND path = '/' AND referrer = 'https://search.example.com/' AND properties -> 'segment' ->> 'name' = 'Home'`,
		`type = 'screen_view' AND path = 'Settings' AND os = 'iOS' AND device = 'mobile'`,
		`type = 'identify' AND properties ->> 'email' = 'u1@example.com'`,
		`type = 'group' AND properties ->> 'name' = 'Example' AND properties -> 'segment' ->> 'group_id' = 'g1'`,
		`type = 'alias' AND properties -> 'segment' ->> 'previous_id' = 'a1'`,
	} {
		require.EqualValues(t, 1, number(t, w.pool, `SELECT count(*) FROM events WHERE `+where), where)
	}
}

// TestSegmentsSDKForBrowsersIsUnderstood sends what that SDK is known to send: short
// paths, plain text, and the key in the body.
func TestSegmentsSDKForBrowsersIsUnderstood(t *testing.T) {
	t.Parallel()
	w := start(t, keys("web-shop=secret"))
	for path, body := range map[string]string{
		"/v1/p": `{"messageId":"b1","timestamp":%q,"type":"page","writeKey":"secret","anonymousId":"a1","properties":{"path":"/p"},"sentAt":"2026-01-01T00:00:00Z"}`,
		"/v1/t": `{"messageId":"b2","timestamp":%q,"type":"track","writeKey":"secret","anonymousId":"a1","event":"Clicked"}`,
		"/v1/b": `{"writeKey":"secret","batch":[{"messageId":"b3","timestamp":%q,"type":"identify","userId":17}],"context":{"location":{"country":"fr"}}}`,
	} {
		body = strings.Replace(body, "%q", `"`+time.Now().UTC().Format(time.RFC3339Nano)+`"`, 1)
		r := postWhenUp(t, w.ingestion+path, "text/plain", body)
		require.Equal(t, http.StatusOK, r.status, r.body)
		require.JSONEq(t, `{"success":true}`, r.body)
		require.Equal(t, http.StatusForbidden, postWhenUp(t, w.ingestion+path, "text/plain", strings.Replace(body, "secret", "guess", 1)).status)
		require.Equal(t, http.StatusUnauthorized, postWhenUp(t, w.ingestion+path, "text/plain", strings.Replace(body, "writeKey", "other", 1)).status)
	}
	reach(t, w.pool, 3, `SELECT count(*) FROM events WHERE source = 'web-shop'`)
	require.EqualValues(t, 1, number(t, w.pool, `SELECT count(*) FROM events WHERE user_id = '17' AND country = 'FR'`))
}

// TestSegmentsLimitsAndAnswers: a request that can never be taken is 400; a message
// that can never be is 200, since SDKs repeat what fails, and says why.
func TestSegmentsLimitsAndAnswers(t *testing.T) {
	t.Parallel()
	w := start(t)
	for name, c := range map[string]struct {
		path, body string
		status     int
		says       string
	}{
		"not JSON":           {"track", `{"event":`, 400, "not valid JSON"},
		"not an object":      {"track", `[]`, 400, "JSON object"},
		"no batch":           {"batch", `{"messages":[]}`, 400, "batch"},
		"empty batch":        {"batch", `{"batch":[]}`, 400, "batch"},
		"large message":      {"track", `{"userId":"u","event":"` + strings.Repeat("x", 33<<10) + `"}`, 400, "32768"},
		"large batch":        {"batch", `{"batch":[{"userId":"` + strings.Repeat("x", 501<<10) + `"}]}`, 400, "512000"},
		"many messages":      {"batch", `{"batch":[{}` + strings.Repeat(`,{}`, 2500) + `]}`, 400, "2500"},
		"context for many":   {"batch", `{"context":{"x":"` + strings.Repeat("x", 450<<10) + `"},"batch":[{}` + strings.Repeat(`,{}`, 2499) + `]}`, 400, "context"},
		"no user":            {"track", `{"event":"a"}`, 200, "anonymous_id"},
		"no event":           {"track", `{"userId":"u"}`, 200, "event"},
		"no such type":       {"batch", `{"batch":[{"userId":"u","type":"fly"}]}`, 200, "identify"},
		"one large message":  {"batch", `{"batch":[{"userId":"u","type":"track","event":"` + strings.Repeat("x", 33<<10) + `"}]}`, 200, "32768"},
		"id without time":    {"track", `{"userId":"u","event":"a","messageId":"m"}`, 200, "time"},
		"time in no form":    {"track", `{"userId":"u","event":"a","timestamp":"soon"}`, 200, "timestamp"},
		"user is an object":  {"track", `{"userId":{},"event":"a"}`, 200, "userId"},
		"large properties":   {"track", `{"userId":"u","event":"a","properties":{"x":"` + strings.Repeat("x", 17<<10) + `"}}`, 200, "16384"},
		"message is no such": {"batch", `{"batch":[7]}`, 200, "JSON object"},
	} {
		r := postWhenUp(t, w.ingestion+"/v1/"+c.path, "application/json", c.body)
		require.Equal(t, c.status, r.status, "%s: %s", name, r.body)
		require.Contains(t, r.body, c.says, name)
		if c.status == http.StatusOK {
			var got struct{ Success bool }
			r.into(t, &got)
			require.False(t, got.Success, name)
		}
	}
	require.Zero(t, number(t, w.pool, `SELECT count(*) FROM events`))
}

// callback counts what the SDK says became of its messages.
type callback struct {
	done   chan struct{}
	failed atomic.Int32
}

func (c *callback) Success(analytics.Message)        { c.done <- struct{}{} }
func (c *callback) Failure(analytics.Message, error) { c.failed.Add(1); c.done <- struct{}{} }
