package api_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/openapi/client/live"
)

func TestWithdrawnKeyEndsItsLiveConnectionsAndNoOthers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys")
	write := func(keys string) {
		t.Helper()
		require.NoError(t, os.WriteFile(file+".new", []byte(keys), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	write("old\nkept\n")
	w := newWorld(t, harness.NewSandbox(t)).start("API_READ_KEYS_FILE", file, "LIVE_RECONCILE", "1h").current()
	ticket := func(key string) string {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.address+"/v1/live/tickets", nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+key)
		response, err := w.http.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		require.Equal(t, http.StatusCreated, response.StatusCode)
		var body struct{ Ticket string }
		require.NoError(t, json.NewDecoder(response.Body).Decode(&body))
		return body.Ticket
	}
	dial := func(key string) *viewer {
		t.Helper()
		return w.dial("", &websocket.DialOptions{HTTPClient: w.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
	}
	withdrawn := []*viewer{dial("old"), w.dial("?ticket="+ticket("old"), nil)}
	listener := w.listen("?ticket="+ticket("old"), "")
	kept := []*viewer{dial("kept"), w.dial("?ticket="+ticket("kept"), nil), w.listen("?ticket="+ticket("kept"), "")}
	follower := w.follow(live.Options{Key: "old"})
	unspent := ticket("old")

	write("kept\nnew\n")
	for _, v := range withdrawn {
		var err error
		for err == nil {
			_, err = v.read()
		}
		require.Equal(t, websocket.StatusCode(3003), websocket.CloseStatus(err), "%v", err)
		require.ErrorContains(t, err, "the key was withdrawn")
	}
	var err error
	for err == nil {
		_, err = listener.read()
	}
	require.True(t, errors.Is(err, io.EOF), "the answer ends whole: %v", err)
	var refused *live.Refused
	for end := false; !end; {
		select {
		case <-follower.messages: // up to that the connection is lost
		case err := <-follower.ended:
			require.ErrorAs(t, err, &refused)
			end = true
		}
	}
	require.Equal(t, http.StatusForbidden, refused.Status)
	_, response, err := websocket.Dial(t.Context(), "ws://"+w.address+"/v1/live?ticket="+unspent, &websocket.DialOptions{HTTPClient: w.http})
	require.Error(t, err)
	require.Equal(t, http.StatusForbidden, response.StatusCode, "its tickets are no good either")

	w.publish(w.store(pageView(time.Now())))
	for _, v := range kept {
		v.total(1)
	}
	dial("new").total(1)
}
