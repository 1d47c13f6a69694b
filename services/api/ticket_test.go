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
