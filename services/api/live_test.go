package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
	"weir/services/shared/rollup"
)

type liveMessage struct {
	Type    string
	Epoch   string
	Seq     uint64
	From    time.Time
	Minutes []struct {
		Minute time.Time
		Type   string
		Events int64
		Value  json.Number
	}
	Totals *struct {
		Events int64
		Value  json.Number
	}
}

// viewer is a client that keeps the counts as the documentation tells it to.
type viewer struct {
	t      *testing.T
	conn   *websocket.Conn
	last   liveMessage
	events map[string]int64 // by minute and type
}

func (w *world) dial(query string, o *websocket.DialOptions) *viewer {
	w.t.Helper()
	if o == nil {
		o = &websocket.DialOptions{HTTPClient: w.http}
	}
	conn, _, err := websocket.Dial(w.t.Context(), "ws://"+w.address+"/v1/live"+query, o)
	require.NoError(w.t, err)
	conn.SetReadLimit(-1)
	w.t.Cleanup(func() { _ = conn.CloseNow() })
	return &viewer{t: w.t, conn: conn, events: map[string]int64{}}
}

// next reads one message and keeps the counts; every message's totals must agree.
func (v *viewer) next() liveMessage {
	v.t.Helper()
	m, err := v.read()
	require.NoError(v.t, err)
	return m
}

func (v *viewer) read() (m liveMessage, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, data, err := v.conn.Read(ctx)
	if err != nil {
		return m, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return m, err
	}
	switch m.Type {
	case "snapshot":
		clear(v.events)
	case "delta":
		require.Equal(v.t, v.last.Epoch, m.Epoch)
		require.Equal(v.t, v.last.Seq+1, m.Seq)
	case "stale", "pong":
		return m, nil
	}
	for _, c := range m.Minutes {
		v.events[c.Minute.Format(time.RFC3339)+" "+c.Type] += c.Events
	}
	var sum int64
	for key, n := range v.events {
		at, _ := time.Parse(time.RFC3339, key[:20])
		if at.Before(m.From) {
			delete(v.events, key)
			continue
		}
		sum += n
	}
	require.Equal(v.t, m.Totals.Events, sum, "totals of %v", m)
	v.last = m
	return m, nil
}

// until reads on to the first message of a type.
func (v *viewer) until(kind string) liveMessage {
	v.t.Helper()
	for {
		if m := v.next(); m.Type == kind {
			return m
		}
	}
}

// total reads on until the window holds n events, and never more.
func (v *viewer) total(n int64) {
	v.t.Helper()
	for end := time.Now().Add(30 * time.Second); v.last.Totals == nil || v.last.Totals.Events != n; {
		v.next()
		require.True(v.t, v.last.Totals == nil || v.last.Totals.Events <= n, "%v is more than %d", v.last.Totals, n)
		require.True(v.t, time.Now().Before(end), "%v does not become %d", v.last.Totals, n)
	}
}

// current waits until the live numbers are.
func (w *world) current() *world {
	w.t.Helper()
	eventually(w.t, "live is current", func() bool { return strings.Contains(w.metrics(), "\nweir_api_live_current 1\n") })
	return w
}

func several(n int, at time.Time) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = pageView(at)
	}
	return events
}

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
	w.start("LIVE_INTERVAL", "10ms", "LIVE_CLIENT_BUFFER", "4", "LIVE_RECONCILE", "1h").current()
	slow := w.dial("", nil)
	fast := w.dial("", nil)
	fast.next()

	// Deltas of 600 KB until the slow one's buffers are full, the kernel's included.
	var b rollup.Batch
	minute := int32(time.Now().Unix() / 60)
	for i := range 6000 {
		b.Deltas = append(b.Deltas, rollup.Delta{Minute: minute - int32(i%40), Key: rollup.Key{Type: "type_" + strconv.Itoa(i/40)}, Events: 1})
	}
	b.XID = 1 << 40 // no picture has it
	closed := false
	for n := int64(1); n <= 200 && !closed; n++ {
		w.publish(b)
		fast.total(n * 6000)
		closed = strings.Contains(w.metrics(), "weir_api_live_slow_closes_total 1")
	}
	require.True(t, closed)
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

func TestLiveRefusesStrangersAndNonsense(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_ORIGINS", "https://*.example.com", "LIVE_MAX_CLIENTS", "3", "LIVE_RECONCILE", "1h").current()
	for origin, status := range map[string]int{"https://evil.com": 403, "http://app.example.com": 403, "https://app.example.com": 101, "http://" + w.address: 101} {
		conn, response, err := websocket.Dial(t.Context(), "ws://"+w.address+"/v1/live", &websocket.DialOptions{
			HTTPClient: w.http, HTTPHeader: http.Header{"Origin": {origin}}})
		require.Equal(t, status, response.StatusCode, origin)
		if err == nil {
			require.NoError(t, conn.Close(websocket.StatusNormalClosure, ""))
		} else {
			require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
		}
	}
	eventually(t, "they are gone", func() bool { return strings.Contains(w.metrics(), "weir_api_live_clients 0") })

	good := w.dial("", nil)
	good.next()
	for _, c := range []struct {
		kind  websocket.MessageType
		say   string
		times int
		code  websocket.StatusCode
	}{
		{websocket.MessageText, "garbage", 1, websocket.StatusPolicyViolation},
		{websocket.MessageText, `{"type":"subscribe"}`, 1, websocket.StatusPolicyViolation},
		{websocket.MessageBinary, `{"type":"ping"}`, 1, websocket.StatusPolicyViolation},
		{websocket.MessageText, `{"type":"ping"}`, 100, websocket.StatusPolicyViolation},
		{websocket.MessageText, strings.Repeat("x", 5<<10), 1, websocket.StatusMessageTooBig},
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
	}
	eventually(t, "only the good one is left", func() bool { return strings.Contains(w.metrics(), "weir_api_live_clients 1") })
	w.dial("", nil)
	w.dial("", nil)
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
	v := w.dial("", nil)
	first := v.next()
	w.publish(w.store(pageView(time.Now())))
	v.total(1)

	// Redis: the clients are told, and what was missed is in the next snapshot.
	require.NoError(t, servers.KillRedis(t.Context()))
	require.Equal(t, "stale", v.next().Type)
	w.store(several(2, time.Now())...)
	joined := w.dial("", nil)
	require.Equal(t, "stale", joined.next().Type)
	var readiness struct{ Status string }
	require.Equal(t, http.StatusServiceUnavailable, w.get("/readyz", nil, &readiness).StatusCode)
	require.NoError(t, servers.StartRedis(t.Context()))
	m := v.until("snapshot")
	require.NotEqual(t, first.Epoch, m.Epoch)
	require.EqualValues(t, 3, m.Totals.Events)
	joined.total(3)
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
	require.NoError(t, servers.StartPostgres(t.Context()))
	eventually(t, "questions are answered", func() bool { return w.get("/v1/events", nil, nil).StatusCode == http.StatusOK })
	require.NoError(t, w.stop())
}
