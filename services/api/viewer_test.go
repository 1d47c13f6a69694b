package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

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
	Dimension string
	Top       []struct {
		Name   string
		Events int64
	}
	Partial      bool
	Events       []map[string]any
	Detail       string
	Subscription map[string]any
}

// viewer is a client that keeps the counts as the documentation tells it to.
type viewer struct {
	t       testing.TB
	conn    *websocket.Conn // nil over SSE
	receive func(context.Context) ([]byte, error)
	id      string // the last, over SSE
	last    liveMessage
	events  map[string]int64            // by minute and type
	tops    map[string]map[string]int64 // by dimension and value
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
	return &viewer{t: w.t, conn: conn, events: map[string]int64{}, tops: map[string]map[string]int64{},
		receive: func(ctx context.Context) ([]byte, error) { _, data, err := conn.Read(ctx); return data, err }}
}

// listen is dial over SSE.
func (w *world) listen(query, lastID string) *viewer {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.address+"/v1/live/events"+query, nil)
	require.NoError(w.t, err)
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	response, err := w.http.Do(request)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(w.t, http.StatusOK, response.StatusCode)
	require.Equal(w.t, "text/event-stream", response.Header.Get("Content-Type"))
	v := &viewer{t: w.t, events: map[string]int64{}, tops: map[string]map[string]int64{}}
	lines := bufio.NewReader(response.Body)
	v.receive = func(ctx context.Context) ([]byte, error) {
		defer context.AfterFunc(ctx, cancel)()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return nil, err
			}
			field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch field {
			case "id":
				v.id = value
			case "data":
				return []byte(value), nil
			}
		}
	}
	return v
}

// transports are the ways to watch; the promises are the same.
var transports = map[string]func(w *world, query string) *viewer{
	"websocket": func(w *world, query string) *viewer { return w.dial(query, nil) },
	"sse":       func(w *world, query string) *viewer { return w.listen(query, "") },
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
	data, err := v.receive(ctx)
	if err != nil {
		return m, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return m, err
	}
	if len(data) < 64<<10 { // the largest are thousands of the same
		asDescribed(v.t, m.Type, data)
	}
	switch m.Type {
	case "snapshot":
		clear(v.events)
	case "delta":
		require.Equal(v.t, v.last.Epoch, m.Epoch)
		require.Equal(v.t, v.last.Seq+1, m.Seq)
	case "top":
		v.tops[m.Dimension] = map[string]int64{}
		for _, n := range m.Top {
			v.tops[m.Dimension][n.Name] = n.Events
		}
		return m, nil
	case "stale", "pong", "events", "subscribed", "error":
		return m, nil
	}
	if m.Type == "heartbeat" && m.Epoch != v.last.Epoch {
		return m, nil // it wants no metrics
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

// counted reads on until a dimension's values have come to what is wanted.
func (v *viewer) counted(dimension string, want map[string]int64) {
	v.t.Helper()
	for end := time.Now().Add(30 * time.Second); !maps.Equal(v.tops[dimension], want); {
		v.next()
		require.True(v.t, time.Now().Before(end), "%v does not become %v", v.tops, want)
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

// overwhelm publishes deltas of 600 KB until the service has closed a slow client, whose
// buffers are full then, the kernel's included; fast reads them all. It returns the batch.
func (w *world) overwhelm(fast *viewer) rollup.Batch {
	w.t.Helper()
	b := largeBatch()
	for n := int64(1); n <= 200; n++ {
		w.publish(b)
		fast.total(n * 6000)
		if strings.Contains(w.metrics(), "weir_api_live_slow_closes_total 1") {
			return b
		}
	}
	require.Fail(w.t, "the slow client is still there")
	return b
}
