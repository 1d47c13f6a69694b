package api_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

// hears is the last message of these types that came so far.
func (p *page) hears(types ...string) (last liveMessage) {
	p.t.Helper()
	_, heard := p.feed()
	for _, text := range slices.Backward(heard) {
		var m liveMessage
		require.NoError(p.t, json.Unmarshal([]byte(text), &m))
		if slices.Contains(types, m.Type) {
			return m
		}
	}
	return last
}

// comesBackTo waits for the WebSocket after the first n, which has to resume after a message.
func (p *page) comesBackTo(n int, last liveMessage) {
	p.t.Helper()
	var addresses []string
	require.Eventually(p.t, func() bool { addresses, _ = p.feed(); return len(addresses) > n }, time.Minute, 50*time.Millisecond)
	address, err := url.Parse(addresses[n])
	require.NoError(p.t, err)
	require.Equal(p.t, []string{last.Epoch, fmt.Sprint(last.Seq)}, []string{address.Query().Get("epoch"), address.Query().Get("seq")})
}

func TestDashboardSurvivesARestart(t *testing.T) {
	w := newWorld(t, harness.NewSandbox(t))
	w.store(shopVisits()...)
	w.start().current()
	p := open(t, w)
	p.shows("#state-text", "Live")
	w.publish(w.store(pageView(time.Now())))
	require.Eventually(t, func() bool { return p.hears("delta").Type != "" }, time.Minute, 50*time.Millisecond)
	opened, _ := p.feed()
	_, port, _ := strings.Cut(w.address, ":")
	require.NoError(t, w.stop())
	p.comesBackTo(len(opened), p.hears("snapshot", "delta", "heartbeat"))
	p.shows("#state-text", "Connecting")
	w.store(several(100, time.Now())...)
	w.start("API_PORT", port).current()
	p.shows("#state-text", "Live")
	require.Eventually(t, func() bool { return len(p.text("#live-events")) == 3 }, time.Minute, 50*time.Millisecond, "what happened meanwhile is shown")
}

// TestDashboardDoesNotCountWhatItMissedAsHappeningNow has a feed of its own, in a page whose
// time stands still.
func TestDashboardDoesNotCountWhatItMissedAsHappeningNow(t *testing.T) {
	w := newWorld(t, harness.NewSandbox(t)).start().current()
	p := open(t, w)
	p.shows("#state-text", "Live")
	var rates []float64
	p.do(chromedp.Evaluate(`(async () => {
		const { Live } = await import("/assets/live.js");
		let socket;
		window.WebSocket = class { constructor() { socket = this; } };
		performance.now = () => 0;
		const live = new Live({ state() {}, numbers() {}, top() {}, events() {} });
		const say = (type, seq, events) => socket.onmessage({ data: JSON.stringify({ type, epoch: "e", seq, minutes: [{ events }], totals: { events, value: 0 } }) });
		say("snapshot", 1, 5000);
		say("delta", 2, 10);
		const rates = [live.rate()], first = socket;
		socket.onclose();
		while (socket === first) await new Promise((resolve) => setTimeout(resolve, 50));
		say("delta", 3, 1000); // missed
		say("heartbeat", 3, 0);
		say("delta", 4, 20);
		return [...rates, live.rate()];
	})()`, &rates, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	require.Equal(t, []float64{1, 3}, rates)
}

func TestDashboardSaysThatNumbersAreNotCurrentWhileRedisIsAway(t *testing.T) {
	servers := harness.Private(t) // of its own, because it takes Redis down
	box, err := servers.Sandbox(t.Context(), t.Name())
	require.NoError(t, err)
	w := newWorld(t, box).start("LIVE_RECONCILE", "1h").current()
	p := open(t, w)
	p.shows("#state-text", "Live")
	p.shows("#live-events", "0")
	require.NoError(t, servers.KillRedis(t.Context()))
	p.shows("#state-text", "Not current: the stream is out of reach")
	p.shows("#status", "Redis cannot be reached")
	w.store(several(3, time.Now())...)
	require.NoError(t, servers.StartRedis(t.Context()))
	p.shows("#state-text", "Live")
	p.shows("#live-events", "3")
	p.shows("#status", "Waiting")
}
