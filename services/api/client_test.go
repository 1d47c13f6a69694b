package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/openapi/client/live"
)

// line is the network between a client and the api, wherever that listens.
type line struct {
	mu     sync.Mutex
	to     string // "": nobody gets through
	opened int
	conns  []*lineConn
}

type lineConn struct {
	net.Conn
	deaf chan struct{} // closed: what is sent to the client is lost on the way
}

func (c *lineConn) Read(p []byte) (n int, err error) {
	for {
		n, err = c.Conn.Read(p)
		select {
		case <-c.deaf:
			if err == nil {
				continue
			}
		default:
		}
		return n, err
	}
}

// lead makes new connections go to an address; "" is nowhere.
func (l *line) lead(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

// each does something to the open connections.
func (l *line) each(do func(*lineConn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		do(c)
	}
	l.conns = nil
}

func (l *line) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened++
	if l.to == "" {
		return nil, errors.New("nobody gets through")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, l.to)
	if err != nil {
		return nil, err
	}
	c := &lineConn{conn, make(chan struct{})}
	l.conns = append(l.conns, c)
	return c, nil
}

// follower keeps the counts of a live.Client as its documentation says.
type follower struct {
	t        testing.TB
	line     *line
	client   *live.Client
	messages chan live.Message
	ended    chan error
	events   map[live.Minute]int64 // of a minute and type
	totals   live.Totals
}

// follow runs a client until the test ends.
func (w *world) follow(o live.Options) *follower {
	w.t.Helper()
	f := &follower{t: w.t, line: &line{to: w.address}, messages: make(chan live.Message), ended: make(chan error, 1), events: map[live.Minute]int64{}}
	o.HTTP = &http.Client{Transport: &http.Transport{DialContext: f.line.dial, DisableKeepAlives: true}}
	f.client = live.New("http://api", o)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		f.ended <- f.client.Run(ctx, func(m live.Message) {
			select {
			case f.messages <- m:
			case <-ctx.Done():
			}
		})
	})
	w.t.Cleanup(func() { cancel(); running.Wait() })
	return f
}

// next takes one message, whose totals must be the sum of all there is.
func (f *follower) next() live.Message {
	f.t.Helper()
	select {
	case m := <-f.messages:
		switch m := m.(type) {
		case live.Snapshot:
			clear(f.events)
			f.add(m)
		case live.Delta:
			f.add(live.Snapshot(m))
		}
		return m
	case err := <-f.ended:
		require.FailNow(f.t, "the client ended", "%v", err)
	case <-time.After(30 * time.Second):
		require.FailNow(f.t, "nothing came")
	}
	return nil
}

func (f *follower) add(m live.Snapshot) {
	f.t.Helper()
	for _, c := range m.Minutes {
		f.events[live.Minute{Minute: c.Minute, Type: c.Type}] += c.Events
	}
	var sum int64
	for key, n := range f.events {
		if key.Minute.Before(m.From) {
			delete(f.events, key)
			continue
		}
		sum += n
	}
	f.totals = m.Totals
	require.Equal(f.t, m.Totals.Events, sum, "totals of %+v", m)
}

// await takes messages up to the first of a kind.
func await[M live.Message](f *follower) (m M) {
	f.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if m, ok := f.next().(M); ok {
			return m
		}
	}
	require.FailNow(f.t, "it did not come", "%T", m)
	return m
}

// total takes messages until the window holds n events.
func (f *follower) total(n int64) {
	f.t.Helper()
	for f.totals.Events != n {
		f.next()
		require.LessOrEqual(f.t, f.totals.Events, n)
	}
}

var wantsMetrics = live.Options{Want: live.Subscription{Metrics: true}}

func TestClientFollowsThroughARestartOfTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.store(several(3, time.Now())...)
	w.start().current()
	f := w.follow(wantsMetrics)
	first := await[live.Snapshot](f)
	w.publish(w.store(pageView(time.Now())))
	f.total(4)

	require.NoError(t, w.stop())
	require.ErrorContains(t, await[live.Lost](f).Err, "StatusGoingAway")
	w.store(several(2, time.Now())...)
	w.start().current()
	f.line.lead(w.address)
	again := await[live.Snapshot](f)
	require.NotEqual(t, first.Epoch, again.Epoch)
	require.EqualValues(t, 6, again.Totals.Events)
	w.publish(w.store(pageView(time.Now())))
	f.total(7)
}

func TestClientIsToldWhatItMissedWhileTheNetworkWasCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_INTERVAL", "10ms").current()
	f, watch := w.follow(wantsMetrics), w.dial("", nil)
	await[live.Snapshot](f)
	w.publish(w.store(pageView(time.Now())))
	f.total(1)

	f.line.lead("")
	f.line.each(func(c *lineConn) { require.NoError(t, c.Close()) })
	await[live.Lost](f)
	for n := int64(2); n <= 4; n++ {
		w.publish(w.store(pageView(time.Now())))
		watch.total(n)
	}
	require.ErrorContains(t, await[live.Lost](f).Err, "nobody gets through")
	f.line.lead(w.address)
	m := f.next()
	for _, lost := m.(live.Lost); lost; _, lost = m.(live.Lost) {
		m = f.next()
	}
	for range 3 {
		require.IsType(t, live.Delta{}, m, "what was missed, and not all of it anew")
		m = f.next()
	}
	require.IsType(t, live.Heartbeat{}, m)
	require.EqualValues(t, 4, f.totals.Events)
}

func TestClientNoticesThatNothingComesAnyMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_HEARTBEAT", "100ms").current()
	o := wantsMetrics
	o.Silence = 2 * time.Second // twenty heartbeats, should the machine be busy
	f := w.follow(o)
	await[live.Snapshot](f)
	await[live.Heartbeat](f)
	f.line.each(func(c *lineConn) { close(c.deaf) })
	w.publish(w.store(pageView(time.Now())))
	require.ErrorContains(t, await[live.Lost](f).Err, "nothing was heard of the live feed for 2s")
	await[live.Delta](f)
	require.EqualValues(t, 1, f.totals.Events)
}

func TestClientThatIsRefusedSaysWhyAndDoesNotTryAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start("API_READ_KEYS", "sesame")
	for _, c := range []struct {
		options live.Options
		status  int
		says    string
	}{
		{live.Options{}, 401, "401 Unauthorized: This needs one of the read keys"},
		{live.Options{Key: "barley"}, 403, "403 Forbidden: This is none of the read keys."},
		{live.Options{Key: "sesame", Want: live.Subscription{Events: 1, Filter: "value >"}}, 422, "422 Unprocessable Entity: query.filter"},
		{live.Options{Ticket: func(context.Context) (string, error) { return "made-up", nil }}, 403, "The ticket is not known"},
	} {
		f := w.follow(c.options)
		err := <-f.ended
		var refused *live.Refused
		require.ErrorAs(t, err, &refused)
		require.Equal(t, c.status, refused.Status)
		require.ErrorContains(t, err, c.says)
		require.Equal(t, 1, f.line.opened)
	}
}

func TestClientGetsATicketForEveryConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start("API_READ_KEYS", "sesame").current()
	issued := 0
	f := w.follow(live.Options{Want: wantsMetrics.Want, Ticket: func(ctx context.Context) (string, error) {
		if issued++; issued == 2 {
			return "", errors.New("the page has gone")
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.address+"/v1/live/tickets", nil)
		if err != nil {
			return "", err
		}
		request.Header.Set("Authorization", "Bearer sesame")
		response, err := w.http.Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		var body struct{ Ticket string }
		return body.Ticket, json.NewDecoder(response.Body).Decode(&body)
	}})
	await[live.Snapshot](f)
	f.line.each(func(c *lineConn) { require.NoError(t, c.Close()) })
	await[live.Lost](f)
	require.ErrorContains(t, await[live.Lost](f).Err, "the page has gone")
	await[live.Heartbeat](f)
	require.Equal(t, 3, issued)
}

func TestClientComesBackWhenThereMayBeAPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start("LIVE_MAX_CLIENTS", "1").current()
	w.dial("", nil).next()
	f := w.follow(wantsMetrics)
	lost := await[live.Lost](f)
	require.ErrorContains(t, lost.Err, "503 Service Unavailable: This instance has as many live clients as it takes")
	require.Equal(t, 10*time.Second, lost.Wait, "as the server asked")
}

func TestClientChangesWhatItWants(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.store(pageView(time.Now())) // of nothing there is no top
	w.start("LIVE_RECONCILE", "1h").current()
	f := w.follow(wantsMetrics)
	await[live.Snapshot](f)
	ask := func(wants live.Subscription) chan error {
		answer := make(chan error, 1)
		go func() { answer <- f.client.Subscribe(t.Context(), wants) }()
		return answer
	}
	answer := ask(live.Subscription{Dimensions: []string{"shoe"}})
	require.Contains(t, await[live.Rejected](f).Detail, "dimensions: there are path")
	require.ErrorContains(t, <-answer, "dimensions: there are path")

	wants := live.Subscription{Dimensions: []string{"source"}, Events: 5, Filter: "value > 1"}
	answer = ask(wants)
	require.Equal(t, wants, await[live.Subscribed](f).Subscription)
	require.NoError(t, <-answer)
	await[live.Top](f)

	f.line.each(func(c *lineConn) { require.NoError(t, c.Close()) })
	await[live.Lost](f)
	require.IsType(t, live.Heartbeat{}, f.next(), "no metrics are wanted any more")
	await[live.Top](f)
}
