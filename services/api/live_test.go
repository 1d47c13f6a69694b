package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

func TestLiveShowsWhatIsThereAndThenWhatChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	now := time.Now()
	w.store(append(several(3, now), several(5, now.Add(-2*time.Hour))...)...)
	w.fold()
	w.store(several(4, now.Add(-30*time.Minute))...)
	w.start().current()
	v := w.dial("", nil)
	require.Equal(t, "snapshot", v.next().Type)
	require.EqualValues(t, 7, v.last.Totals.Events, "the window is an hour")

	sale := pageView(now)
	sale.Type, sale.Value, sale.HasValue = "purchase", 100_000, true
	late, tooLate := pageView(now.Add(-10*time.Minute)), pageView(now.Add(-3*time.Hour))
	w.publish(w.store(sale, late, tooLate))
	m := v.next()
	require.Equal(t, "delta", m.Type)
	require.Len(t, m.Minutes, 2, "only what changed")
	require.Equal(t, now.Add(-10*time.Minute).UTC().Truncate(time.Minute), m.Minutes[0].Minute)
	require.Equal(t, "purchase", m.Minutes[1].Type)
	require.Equal(t, "0.1", m.Minutes[1].Value.String())

	sale.ID = event.NewID(now)
	sale.Value = 200_000
	w.publish(w.store(sale))
	v.total(10)
	require.Equal(t, "0.3", v.last.Totals.Value.String())

	later := w.dial("", nil)
	later.next()
	require.Equal(t, v.events, later.events)

	require.NoError(t, v.conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping"}`)))
	v.until("pong")
}

// The picture of the database is held up while batches commit around it.
func TestLiveIsExactWhateverCommitsAroundItsSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	now := time.Now()
	known := w.store(several(1, now)...) // makes the keys too, which the lock would block

	open, openBatch := w.begin(several(10, now)...) // began before the picture, commits after it
	visible := w.store(several(100, now)...)        // in the picture, published after it was taken

	// The picture's second statement waits here; its first has taken the snapshot.
	blocker, err := w.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = blocker.Exec(t.Context(), "LOCK TABLE rollup_minute")
	require.NoError(t, err)
	w.start("LIVE_RECONCILE", "1h", "LIVE_HEARTBEAT", "1s") // nothing is corrected afterwards
	eventually(t, "the picture is being read", func() bool { return w.waiting() == 1 })

	w.publish(visible)
	w.publish(known)
	require.NoError(t, open.Commit(t.Context()))
	w.publish(openBatch)
	w.publish(w.store(several(1000, now)...)) // began and committed after it
	early := w.dial("", nil)
	require.Equal(t, "stale", early.next().Type)
	require.NoError(t, blocker.Rollback(t.Context()))

	early.total(1111)
	w.publish(visible) // however late it comes
	w.publish(w.store(several(10_000, now)...))
	early.total(11_111)
	v := w.dial("", nil)
	v.next()
	require.Equal(t, early.events, v.events)
	require.Contains(t, w.metrics(), `weir_api_live_epochs_total{reason="subscribed"} 1`)
}

func TestLiveClientResumesWhereItLeftOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_INTERVAL", "10ms").current()
	v := w.dial("", nil)
	v.next()
	for i := range 3 {
		w.publish(w.store(pageView(time.Now())))
		v.total(int64(i) + 1)
	}
	require.NoError(t, v.conn.Close(websocket.StatusNormalClosure, ""))
	watch := w.dial("", nil)
	watch.next()
	for i := range 5 {
		w.publish(w.store(pageView(time.Now())))
		watch.total(int64(i) + 4)
	}

	back := w.dial(fmt.Sprintf("?epoch=%s&seq=%d", v.last.Epoch, v.last.Seq), nil)
	back.last, back.events = v.last, maps.Clone(v.events)
	for range 5 {
		require.Equal(t, "delta", back.next().Type)
	}
	require.Equal(t, "heartbeat", back.next().Type)
	require.Equal(t, watch.events, back.events)

	for _, place := range []string{"?epoch=00ff&seq=1", "?epoch=" + v.last.Epoch + "&seq=99"} {
		fresh := w.dial(place, nil)
		require.Equal(t, "snapshot", fresh.next().Type)
		require.Equal(t, watch.events, fresh.events)
	}
}

func TestSlowLiveClientIsClosedAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_INTERVAL", "10ms", "LIVE_CLIENT_BUFFER", "16", "LIVE_RECONCILE", "1h").current()
	slow := w.dial("", nil)
	fast := w.dial("", nil)
	fast.next()

	b := w.overwhelm(fast)
	var err error
	for err == nil {
		_, err = slow.read()
	}
	require.Equal(t, websocket.StatusTryAgainLater, websocket.CloseStatus(err), "%v", err)
	w.publish(b)
	require.Equal(t, "delta", fast.next().Type)
}

func TestStopClosesLiveClientsAsGoingAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start().current()
	v := w.dial("", nil)
	v.next()
	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	_, err := v.read()
	require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(err))
	require.NoError(t, <-stopped)
}

// A consumer that dies between commit and publish leaves nothing to hear.
func TestLiveCorrectsItselfWhenABatchWasNeverPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start("LIVE_RECONCILE", "1s").current()
	v := w.dial("", nil)
	first := v.next()
	late := w.store(several(3, time.Now())...)
	m := v.until("snapshot")
	require.NotEqual(t, first.Epoch, m.Epoch)
	require.EqualValues(t, 3, m.Totals.Events)
	w.publish(late) // it was only slow after all
	w.publish(w.store(pageView(time.Now())))
	v.total(4)
	require.Contains(t, w.metrics(), `weir_api_live_epochs_total{reason="corrected"} 1`)
}

func TestOnlyPagesThatMayOpenTheFeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	ask := func(w *world, path, origin string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.address+path, nil)
		require.NoError(t, err)
		request.Header.Set("Origin", origin)
		if path == "/v1/live" {
			for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
				request.Header.Set(name, value)
			}
		}
		response, err := w.http.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response
	}
	listed := w.another("LIVE_ORIGINS", "https://*.example.com")
	for _, c := range []struct {
		of      *world
		origin  string
		may     bool
		foreign bool // its page has to be given leave to read
	}{
		{of: w, origin: "http://" + w.address, may: true},
		{of: w, origin: "https://app.example.com"},
		{of: w, origin: "http://" + listed.address}, // another port
		{of: w, origin: "null"},
		{of: listed, origin: "http://" + listed.address, may: true},
		{of: listed, origin: "https://app.example.com", may: true, foreign: true},
		{of: listed, origin: "http://app.example.com"},
		{of: listed, origin: "https://evil.com"},
		{of: listed, origin: "https://example.com.evil.com"},
	} {
		for path, opened := range map[string]int{"/v1/live": http.StatusSwitchingProtocols, "/v1/live/events": http.StatusOK} {
			response := ask(c.of, path, c.origin)
			leave := ""
			if c.foreign {
				leave = c.origin
			}
			require.Equal(t, leave, response.Header.Get("Access-Control-Allow-Origin"), "%s %+v", path, c)
			if c.may {
				require.Equal(t, opened, response.StatusCode, "%s %+v", path, c)
			} else {
				require.Equal(t, http.StatusForbidden, response.StatusCode, "%s %+v", path, c)
				require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
			}
		}
	}
}

func TestLiveRefusesNonsenseAndMoreThanItTakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_MAX_CLIENTS", "3", "LIVE_RECONCILE", "1h").current()
	good := w.dial("", nil)
	good.next()
	for _, c := range []struct {
		kind  websocket.MessageType
		say   string
		times int
		code  websocket.StatusCode
	}{
		{websocket.MessageText, "garbage", 1, websocket.StatusPolicyViolation},
		{websocket.MessageText, `{"type":"unsubscribe"}`, 1, websocket.StatusPolicyViolation},
		{websocket.MessageText, `{"type":"subscribe","dimensions":["path"]}`, 100, websocket.StatusPolicyViolation},
		{websocket.MessageBinary, `{"type":"ping"}`, 1, websocket.StatusPolicyViolation},
		{websocket.MessageText, `{"type":"ping"}`, 100, websocket.StatusPolicyViolation},
		{websocket.MessageText, strings.Repeat("x", 9<<10), 1, websocket.StatusMessageTooBig},
	} {
		v := w.dial("", nil)
		for range c.times {
			if v.conn.Write(t.Context(), c.kind, []byte(c.say)) != nil {
				break
			}
		}
		var err error
		for err == nil {
			_, err = v.read()
		}
		require.Equal(t, c.code, websocket.CloseStatus(err), "%.20s: %v", c.say, err)
		// A client is gone before its place is free.
		eventually(t, "only the good one is left", func() bool { return strings.Contains(w.metrics(), "weir_api_live_clients 1\n") })
	}
	for range 2 {
		eventually(t, "there is a place", func() bool {
			conn, _, err := websocket.Dial(t.Context(), "ws://"+w.address+"/v1/live", &websocket.DialOptions{HTTPClient: w.http})
			if err == nil {
				t.Cleanup(func() { _ = conn.CloseNow() })
			}
			return err == nil
		})
	}
	require.Equal(t, http.StatusServiceUnavailable, w.get("/v1/live", url.Values{}, nil).StatusCode)
	w.publish(w.store(pageView(time.Now())))
	good.total(1)
}

// One story on servers of its own, because it takes them down.
func TestServersGoAndComeBack(t *testing.T) {
	t.Parallel()
	servers := harness.Private(t)
	box, err := servers.Sandbox(t.Context(), t.Name())
	require.NoError(t, err)
	w := newWorld(t, box)
	w.start("LIVE_RECONCILE", "1h").current()
	v, s := w.dial("", nil), w.listen("?metrics=false&dimensions=source", "")
	v.next()
	w.publish(w.store(pageView(time.Now())))
	v.total(1)
	s.counted("source", map[string]int64{"web": 1})
	first := v.last

	// Redis: the clients are told, and what was missed is in the next snapshot.
	require.NoError(t, servers.KillRedis(t.Context()))
	v.until("stale")
	s.until("stale")
	w.store(several(2, time.Now())...)
	joined := w.dial("", nil)
	require.Equal(t, "stale", joined.next().Type)
	var readiness struct{ Status string }
	require.Equal(t, http.StatusServiceUnavailable, w.get("/readyz", nil, &readiness).StatusCode)
	status := w.status()
	require.Contains(t, status.Stream.Error, "Redis")
	require.Empty(t, status.Stored.Error)
	require.NotEmpty(t, status.Servers.Postgresql)
	require.NoError(t, servers.StartRedis(t.Context()))
	m := v.until("snapshot")
	require.NotEqual(t, first.Epoch, m.Epoch)
	require.EqualValues(t, 3, m.Totals.Events)
	joined.total(3)
	s.counted("source", map[string]int64{"web": 3})
	w.publish(w.store(pageView(time.Now())))
	v.total(4)

	// PostgreSQL: questions are refused soon, and answered again by themselves.
	require.NoError(t, servers.KillPostgres(t.Context()))
	for _, path := range []string{"/v1/metrics/summary", "/v1/metrics/timeseries", "/v1/events"} {
		var p problem
		asked := time.Now()
		response := w.get(path, nil, &p)
		require.Equal(t, http.StatusServiceUnavailable, response.StatusCode, path)
		require.NotEmpty(t, response.Header.Get("Retry-After"))
		require.Less(t, time.Since(asked), 5*time.Second)
	}
	status = w.status()
	require.Contains(t, status.Stored.Error, "PostgreSQL")
	require.Empty(t, status.Stream.Error)
	require.NotEmpty(t, status.Servers.Redis)
	require.NoError(t, servers.KillRedis(t.Context()))
	status = w.status() // both
	require.NotEmpty(t, status.Stored.Error)
	require.NotEmpty(t, status.Stream.Error)
	require.NoError(t, servers.StartRedis(t.Context()))
	require.NoError(t, servers.StartPostgres(t.Context()))
	eventually(t, "questions are answered", func() bool { return w.get("/v1/events", nil, nil).StatusCode == http.StatusOK })
	require.NoError(t, w.stop())
}
