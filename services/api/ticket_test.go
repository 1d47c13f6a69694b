package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

func TestTicketOpensOneConnectionOnAnyInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("API_READ_KEYS", "sesame")
	other := w.another("API_READ_KEYS", "sesame")
	issue := func(authorization string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.address+"/v1/live/tickets", nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", authorization)
		response, err := w.http.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		var body struct{ Ticket string }
		require.NoError(t, json.NewDecoder(response.Body).Decode(&body))
		return response.StatusCode, body.Ticket
	}
	for authorization, status := range map[string]int{"": 401, "Bearer wrong": 403} {
		got, _ := issue(authorization)
		require.Equal(t, status, got)
	}
	status, ticket := issue("Bearer sesame")
	require.Equal(t, http.StatusCreated, status)
	v := other.dial("?ticket="+ticket, nil)
	require.Equal(t, "snapshot", v.until("snapshot").Type)
	for _, path := range []string{"/v1/live", "/v1/live/events"} {
		for _, spent := range []string{ticket, "made-up"} {
			require.Equal(t, http.StatusForbidden, w.get(path, url.Values{"ticket": {spent}}, nil).StatusCode)
		}
		require.Equal(t, http.StatusUnauthorized, w.get(path, nil, nil).StatusCode)
	}
	_, ticket = issue("Bearer sesame")
	require.Equal(t, "snapshot", w.listen("?ticket="+ticket, "").until("snapshot").Type)

	_, ticket = issue("Bearer sesame")
	left, err := w.redis.Keys(t.Context(), w.box.StreamName+":ticket:*").Result()
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.NotContains(t, left[0], ticket)
	age, err := w.redis.TTL(t.Context(), left[0]).Result()
	require.NoError(t, err)
	require.InDelta(t, 30, age.Seconds(), 5)
	require.NoError(t, v.conn.Close(websocket.StatusNormalClosure, ""))
}

func TestPagesThatMayOpenTheFeedMayGetTicketsAndOthersMayNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start("API_READ_KEYS", "sesame", "LIVE_ORIGINS", "https://*.example.com")
	ask := func(method, path string, header ...string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.address+path, nil)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		response, err := w.http.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Contains(t, response.Header.Get("Vary"), "Origin", "what is said depends on it")
		return response
	}
	const leave = "Access-Control-Allow-Origin"
	for origin, allowed := range map[string]string{
		"https://app.example.com": "https://app.example.com", "http://app.example.com": "", "https://example.com.evil.com": "", "null": "",
	} {
		before := ask(http.MethodOptions, "/v1/live/tickets", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
		require.Equal(t, allowed, before.Header.Get(leave), origin)
		if allowed != "" {
			require.Equal(t, http.StatusNoContent, before.StatusCode)
			require.Equal(t, "authorization", before.Header.Get("Access-Control-Allow-Headers"))
			require.Equal(t, "POST", before.Header.Get("Access-Control-Allow-Methods"))
		}
		for key, status := range map[string]int{"sesame": 201, "wrong": 403} { // why it was refused is to be read too
			response := ask(http.MethodPost, "/v1/live/tickets", "Origin", origin, "Authorization", "Bearer "+key)
			require.Equal(t, status, response.StatusCode)
			require.Equal(t, allowed, response.Header.Get(leave), origin)
		}
	}
	require.Empty(t, w.get("/v1/metrics/summary", nil, nil).Header.Get(leave), "of other paths nothing is said")
}
