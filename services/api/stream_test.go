package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
	"weir/services/shared/rollup"
)

func TestServerSentEventsResumeByTheirID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_INTERVAL", "10ms").current()
	v := w.listen("", "")
	require.Equal(t, "snapshot", v.next().Type)
	w.publish(w.store(several(3, time.Now())...))
	v.total(3)
	require.Equal(t, fmt.Sprintf("%s:%d", v.last.Epoch, v.last.Seq), v.id)

	watch := w.dial("", nil)
	watch.next()
	for n := int64(4); n <= 6; n++ {
		w.publish(w.store(pageView(time.Now())))
		watch.total(n)
	}
	back := w.listen("", v.id)
	back.last, back.events = v.last, v.events
	for range 3 {
		require.Equal(t, "delta", back.next().Type)
	}
	require.Equal(t, "heartbeat", back.next().Type)
	require.Equal(t, watch.events, back.events)

	require.Equal(t, "snapshot", w.listen("", "00ff:1").next().Type)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.address+"/v1/live/events", nil)
	require.NoError(t, err)
	request.Header.Set("Last-Event-ID", "nonsense")
	response, err := w.http.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusUnprocessableEntity, response.StatusCode)

	ended := make(chan error, 1)
	go func() { ended <- w.stop() }()
	for err = nil; err == nil; _, err = back.read() {
	}
	require.ErrorIs(t, err, io.EOF, "the answer ends whole")
	require.NoError(t, <-ended)
}

func TestSlowListenerIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_INTERVAL", "10ms", "LIVE_CLIENT_BUFFER", "16", "LIVE_RECONCILE", "1h").current()
	slow := w.listen("", "")
	fast := w.dial("", nil)
	fast.next()
	w.overwhelm(fast)
	var err error
	for err == nil {
		_, err = slow.read()
	}
	require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), "%v", err)
}

// TestDimensionsWantedWhileTheFirstPictureIsTakenCome holds the picture back: it was begun
// for nobody, and so without dimensions.
func TestDimensionsWantedWhileTheFirstPictureIsTakenCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.store(pageView(time.Now()))
	tx, err := w.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), "LOCK rollup_keys IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	w.start("LIVE_RECONCILE", "1h")
	eventually(t, "the picture waits", func() (waits bool) {
		require.NoError(t, tx.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'rollup_keys'::regclass AND NOT granted)").Scan(&waits))
		return waits
	})
	v := w.dial("?dimensions=source", nil)
	require.NoError(t, v.conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping"}`)))
	require.Equal(t, "pong", v.next().Type)
	require.NoError(t, tx.Rollback(t.Context()))
	v.counted("source", map[string]int64{"web": 1})
	require.Contains(t, w.metrics(), `weir_api_live_epochs_total{reason="subscribed"} 1`)
}

func TestDimensionsAreTheWindowsWhicheverWayTheyCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	now := time.Now()
	visit := func(at time.Time, path, country string) event.Event {
		e := pageView(at)
		e.Path, e.Country = path, country
		return e
	}
	w.store(visit(now, "/a", "DE"), visit(now.Add(-30*time.Minute), "/a", "FR"), visit(now.Add(-2*time.Hour), "/a", "DE"))
	w.fold()
	w.store(visit(now, "/b", ""))
	w.start("LIVE_RECONCILE", "1h").current()
	plain := w.dial("", nil)
	epoch := plain.next().Epoch
	for name, watch := range transports {
		v := watch(w, "?dimensions=path,country")
		v.counted("path", map[string]int64{"/a": 2, "/b": 1})
		v.counted("country", map[string]int64{"DE": 1, "FR": 1})
		require.NotContains(t, v.tops, "source", name)
	}
	require.NotEqual(t, epoch, plain.until("snapshot").Epoch, "the first who wants dimensions begins an epoch")

	v, only := w.dial("?dimensions=path", nil), w.listen("?metrics=false&dimensions=country", "")
	v.counted("path", map[string]int64{"/a": 2, "/b": 1})
	require.Equal(t, "heartbeat", only.next().Type)
	w.publish(w.store(visit(now, "/b", "FR"), visit(now, "/b", "FR"), visit(now, "/c", "FR")))
	v.counted("path", map[string]int64{"/a": 2, "/b": 3, "/c": 1})
	v.total(6)
	only.counted("country", map[string]int64{"DE": 1, "FR": 4})

	// Ten of them, the most frequent, and a batch that the epoch has is not counted again.
	var many []event.Event
	for i := range 30 {
		for range i + 10 {
			many = append(many, visit(now, fmt.Sprintf("/many/%02d", i), ""))
		}
	}
	batch := w.store(many...)
	w.publish(batch)
	want := map[string]int64{}
	for i := 20; i < 30; i++ {
		want[fmt.Sprintf("/many/%02d", i)] = int64(i) + 10
	}
	v.counted("path", want)
}

func TestSubscriptionIsReplacedWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_RECONCILE", "1h").current()
	v := w.dial("?metrics=false&events=10", nil)
	require.Equal(t, "heartbeat", v.next().Type)
	say := func(text string) {
		require.NoError(t, v.conn.Write(t.Context(), websocket.MessageText, []byte(text)))
	}
	sampled := func(e event.Event) {
		b := w.store(e)
		b.Sample = append(b.Sample, e.AppendJSON(nil))
		w.publish(b)
	}
	sale := pageView(time.Now())
	sale.Type, sale.Value, sale.HasValue = "purchase", 120_500_000, true
	sampled(sale)
	m := v.until("events")
	require.Len(t, m.Events, 1)
	require.Equal(t, sale.ID.String(), m.Events[0]["id"])
	require.EqualValues(t, "120.5", fmt.Sprint(m.Events[0]["value"]))

	say(`{"type":"subscribe","dimensions":["source"],"events":5,"filter":"value > 200"}`)
	require.Equal(t, map[string]any{"metrics": true, "dimensions": []any{"source"}, "events": "5", "filter": "value > 200"}, words(v.until("subscribed").Subscription))
	require.Equal(t, "snapshot", v.next().Type)
	v.counted("source", map[string]int64{"web": 1})
	sale.ID = event.NewID(time.Now())
	sampled(sale)
	v.total(2)
	sale.ID, sale.Value = event.NewID(time.Now()), 200_500_000
	sampled(sale)
	require.Equal(t, sale.ID.String(), v.until("events").Events[0]["id"], "the one before did not match")

	for _, wrong := range []string{
		`{"type":"subscribe","filter":"value >","events":1}`, `{"type":"subscribe","filter":"value > 1"}`,
		`{"type":"subscribe","events":51}`, `{"type":"subscribe","events":-1}`, `{"type":"subscribe","dimensions":["colour"]}`,
		`{"type":"subscribe","dimensions":["all"]}`, `{"type":"subscribe","colour":"red"}`, `{"type":"subscribe","metrics":"yes"}`,
	} {
		say(wrong)
		require.NotEmpty(t, v.until("error").Detail, wrong)
	}
	sale.ID = event.NewID(time.Now())
	sampled(sale) // what was wrong has changed nothing
	require.Equal(t, sale.ID.String(), v.until("events").Events[0]["id"])

	for parameter, value := range map[string]string{"metrics": "perhaps", "dimensions": "colour", "events": "51", "filter": "value >"} {
		var p problem
		require.Equal(t, http.StatusUnprocessableEntity, w.get("/v1/live/events", url.Values{parameter: {value}}, &p).StatusCode)
		require.Contains(t, p.Detail, "query."+parameter)
	}
}

// words makes the numbers text.
func words(m map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		if _, ok := v.(fmt.Stringer); ok {
			v = fmt.Sprint(v)
		}
		out[k] = v
	}
	return out
}

func TestSampledEventsAreNoMoreThanAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_RECONCILE", "1h").current()
	v := w.dial("?metrics=false&events=3", nil)
	v.next()
	batch := w.store()
	for range 20 {
		e := pageView(time.Now())
		batch.Sample = append(batch.Sample, e.AppendJSON(nil))
	}
	began := time.Now()
	for range 10 {
		w.publish(batch)
	}
	w.publish(w.store(pageView(time.Now())))
	require.NoError(t, v.conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"subscribe"}`)))
	got := 0
	for v.last.Totals == nil || v.last.Totals.Events != 1 {
		got += len(v.next().Events)
	}
	require.Positive(t, got)
	require.LessOrEqual(t, got, 3*(int(time.Since(began).Seconds())+2))
}

// Every instance hears all: clients may be anywhere.
func TestEveryInstanceShowsAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start().current()
	other := w.another()
	other.current()
	a, b := w.dial("", nil), other.listen("", "")
	a.next()
	b.next()
	for i := range int64(20) {
		w.publish(w.store(pageView(time.Now())))
		a.total(i + 1)
		b.total(i + 1)
	}
	require.Equal(t, a.events, b.events)
}

// largeBatch is 600 KB as a message, and in no picture.
func largeBatch() rollup.Batch {
	b := rollup.Batch{XID: 1 << 40}
	minute := int32(time.Now().Unix() / 60)
	for i := range 6000 {
		b.Deltas = append(b.Deltas, rollup.Delta{Minute: minute - int32(i%40), Key: rollup.Key{Type: fmt.Sprint("type_", i/40)}, Events: 1})
	}
	return b
}
