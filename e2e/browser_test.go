package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
)

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"

func TestPagesOfConfiguredOriginsMaySendAndOthersMayNot(t *testing.T) {
	t.Parallel()
	w := start(t, keys("web=secret"), func(_ *api.Config, _ *consumer.Config, i *ingestion.Config) {
		i.Collector.Origins = []string{"https://shop.example.com", "https://*.example.org"}
		i.Collector.RateLimit = 1000
	})
	for _, path := range []string{"/v1/events", "/v1/batch", "/v1/t", "/v1/cloudevents"} {
		for origin, allowed := range map[string]string{
			"https://shop.example.com": "https://shop.example.com", "https://a.example.org": "https://a.example.org", "https://evil.example.com": "",
			"http://shop.example.com": "", "null": "",
		} {
			ask := do(t, http.MethodOptions, w.ingestion+path, "", "", "Origin", origin,
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "ce-id,content-type,x-write-key")
			require.Equal(t, allowed, ask.header.Get("Access-Control-Allow-Origin"), "%s from %s", path, origin)
			if allowed != "" {
				require.Equal(t, http.StatusNoContent, ask.status)
				require.Equal(t, "ce-id,content-type,x-write-key", ask.header.Get("Access-Control-Allow-Headers"))
				require.Empty(t, ask.header.Get("Access-Control-Allow-Credentials"))
			}
			// A page must be able to read why it was refused.
			refused := postWhenUp(t, w.ingestion+path, "application/json", `{"batch":[{}]}`, "Origin", origin)
			require.Equal(t, http.StatusUnauthorized, refused.status)
			require.Equal(t, allowed, refused.header.Get("Access-Control-Allow-Origin"))
		}
	}
	r := w.post(`{"type":"click","user_id":"u"}`, "Origin", "https://a.example.org", "X-Write-Key", "secret")
	require.Equal(t, http.StatusAccepted, r.status, r.body)
	require.Contains(t, r.header.Get("Access-Control-Expose-Headers"), "Retry-After")
	require.Contains(t, r.header.Get("RateLimit"), `"events";r=19999`)
	for _, other := range []string{"/healthz", "/openapi.json"} {
		require.Empty(t, do(t, http.MethodGet, w.ingestion+other, "", "", "Origin", "https://shop.example.com").header.Get("Access-Control-Allow-Origin"))
	}
}

func TestWithoutConfiguredOriginsNoPageMayAsk(t *testing.T) {
	t.Parallel()
	w := start(t)
	r := do(t, http.MethodOptions, w.ingestion+"/v1/events", "", "", "Origin", "https://example.com", "Access-Control-Request-Method", "POST")
	require.Empty(t, r.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, http.StatusMethodNotAllowed, r.status)
}

// TestABeaconIsTaken sends what navigator.sendBeacon does: plain text, no header of the
// page's, and nobody who reads the answer.
func TestABeaconIsTaken(t *testing.T) {
	t.Parallel()
	w := start(t, keys("web=secret"))
	for _, body := range []string{`{"type":"leave","anonymous_id":"a1"}`, `[{"type":"leave","anonymous_id":"a2"},{"type":"leave","anonymous_id":"a3","device":"tv"}]`} {
		r := postWhenUp(t, w.ingestion+"/v1/events?write_key=secret", "text/plain;charset=UTF-8", body,
			"User-Agent", firefox, "Origin", "https://shop.example.com")
		require.Equal(t, http.StatusAccepted, r.status, r.body)
	}
	reach(t, w.pool, 3, `SELECT count(*) FROM events WHERE source = 'web'`)
	require.EqualValues(t, 2, number(t, w.pool, `SELECT count(*) FROM events WHERE device = 'desktop' AND browser = 'Firefox' AND os = 'Linux'`))
	require.EqualValues(t, 1, number(t, w.pool, `SELECT count(*) FROM events WHERE device = 'tv' AND browser IS NULL`))
}

func TestThePixelAlwaysShowsAndSaysWhatBecameOfItsEvent(t *testing.T) {
	t.Parallel()
	w := start(t, keys("web=secret"))
	for query, says := range map[string]string{
		"?write_key=secret&user_id=u1&campaign=spring":           "accepted: ",
		"?write_key=secret&type=mail_open&value=2":               "accepted: ",
		"?write_key=secret&type=Open%20Mail":                     "rejected: type must match",
		"?write_key=secret&user_id=a&user_id=b":                  "rejected: user_id is given twice",
		"?write_key=secret&user_id=u&time=0000-01-01T00:00Z":     "rejected: time must be",
		"?write_key=secret&user_id=%00":                          "rejected: user_id must not contain the NUL",
		"?write_key=secret&user_id=%FF":                          "rejected: The query must be UTF-8",
		"?write_key=guess":                                       "rejected: Nothing was taken: the write key is not known",
		"":                                                       "rejected: Nothing was taken: a write key is required",
		"?write_key=secret&%zz":                                  "rejected: ",
		"?write_key=secret&user_id=" + strings.Repeat("x", 9000): "rejected: user_id must be at most 256 bytes",
	} {
		r := do(t, http.MethodGet, w.ingestion+"/v1/pixel.gif"+query, "", "", "User-Agent", firefox, "Referer", "https://shop.example.com/spring?x=1")
		require.Equal(t, http.StatusOK, r.status, query)
		require.Equal(t, "image/gif", r.header.Get("Content-Type"), query)
		require.Equal(t, "no-store", r.header.Get("Cache-Control"), query)
		require.Contains(t, r.header.Get("Weir-Result"), says, query)
		require.True(t, strings.HasPrefix(r.body, "GIF89a\x01\x00\x01\x00"), query)
	}
	require.Equal(t, http.StatusOK, do(t, http.MethodHead, w.ingestion+"/v1/pixel.gif?write_key=secret&user_id=u1", "", "").status)
	require.Equal(t, http.StatusMethodNotAllowed, postWhenUp(t, w.ingestion+"/v1/pixel.gif?write_key=secret", "application/json", "{}").status)
	reach(t, w.pool, 2, `SELECT count(*) FROM events`)
	settle(t, w)
	require.EqualValues(t, 1, number(t, w.pool, `
		SELECT count(*) FROM events WHERE type = 'page_view' AND source = 'web' AND user_id = 'u1' AND path = '/spring' AND browser = 'Firefox' AND properties ->> 'campaign' = 'spring'`))
	require.EqualValues(t, 1, number(t, w.pool, `SELECT count(*) FROM events WHERE type = 'mail_open' AND anonymous_id LIKE 'v-%' AND value = 2`))
}
