package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
)

// deaf stands between a service and Redis. When told to, it loses what Redis answers from the
// next XADD on, and the connection with it: the command was carried out, and nobody knows.
// Before that, the service still finds Redis there, or it would not send any.
type deaf struct {
	listener     net.Listener
	waits, loses atomic.Bool // for the next XADD; from then on
}

// before starts a deaf proxy before the Redis at an address, which it changes.
func before(t *testing.T, address *string) *deaf {
	t.Helper()
	u, err := url.Parse(*address)
	require.NoError(t, err)
	target := u.Host
	d := &deaf{}
	d.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { d.listener.Close() })
	u.Host = d.listener.Addr().String()
	*address = u.String()
	go func() {
		for {
			client, err := d.listener.Accept()
			if err != nil {
				return
			}
			go d.pass(client, target)
		}
	}()
	return d
}

func (d *deaf) pass(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(io.MultiWriter(d, server), client)
		server.Close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil || d.loses.Load() {
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// Write sees what a client sends before Redis does.
func (d *deaf) Write(sent []byte) (int, error) {
	if d.waits.Load() && bytes.Contains(sent, []byte("xadd")) {
		d.loses.Store(true)
	}
	return len(sent), nil
}

func (d *deaf) hear() {
	d.waits.Store(false)
	d.loses.Store(false)
}

// TestWhatTheStreamDidNotConfirmCanBeSentAgainAndStaysOneRow: the answer of 503 names
// the id and time that each event got, even where the client gave none.
func TestWhatTheStreamDidNotConfirmCanBeSentAgainAndStaysOneRow(t *testing.T) {
	t.Parallel()
	var redis *deaf
	w := start(t, func(_ *api.Config, _ *consumer.Config, i *ingestion.Config) { redis = before(t, &i.Redis.URL) })

	redis.waits.Store(true)
	r := w.post(`[{"type":"signup","user_id":"u1"},{"type":"Wrong"},{"type":"signup","user_id":"u2"}]`)
	require.Equal(t, http.StatusServiceUnavailable, r.status, r.body)
	require.Equal(t, "application/problem+json", r.header.Get("Content-Type"))
	require.NotEmpty(t, r.header.Get("Retry-After"))
	require.NotContains(t, r.body, "127.0.0.1", "what failed inside is not the client's to know")
	var p struct {
		Status  int
		Results []struct{ ID, Status, Time string }
	}
	r.into(t, &p)
	require.Equal(t, http.StatusServiceUnavailable, p.Status)
	require.Len(t, p.Results, 3)
	require.Equal(t, "rejected", p.Results[1].Status)

	redis.hear()
	type again struct {
		ID     string `json:"id"`
		Time   string `json:"time"`
		Type   string `json:"type"`
		UserID string `json:"user_id"`
	}
	var events []again
	for i, user := range map[int]string{0: "u1", 2: "u2"} {
		require.Equal(t, "unconfirmed", p.Results[i].Status)
		events = append(events, again{p.Results[i].ID, p.Results[i].Time, "signup", user})
	}
	body, err := json.Marshal(events)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.post(string(body)).status == http.StatusAccepted }, patience, 50*time.Millisecond)
	settle(t, w)
	require.EqualValues(t, 2, number(t, w.pool, `SELECT count(*) FROM events`), "they had arrived the first time already")
	require.EqualValues(t, 2, number(t, w.pool, `SELECT count(DISTINCT user_id) FROM events WHERE type = 'signup'`))
	rollupsEqualRaw(t, w.pool)
}
