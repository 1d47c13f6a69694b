package api_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

// page is the dashboard in a browser of its own. Its tests are not parallel: a browser that
// starts takes all of a small machine, and beside other tests the api's first connections
// took longer than the 3 s that a question waits for one.
type page struct {
	t   *testing.T
	ctx context.Context

	mu        sync.Mutex
	faults    []string // what went to the console as an error, and exceptions
	addresses []string // of every request
	feeds     []string // addresses of the WebSockets
	heard     []string // what came by them
}

func open(t *testing.T, w *world) *page {
	t.Helper()
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(harness.Chromium(t)), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(time.Minute))
	// Long enough for a machine that does much else; a browser that hangs is ended.
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, o...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := &page{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(e any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			p.faults = append(p.faults, e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			// Containers of other tests come and go, each with an interface of this machine:
			// Chromium then drops what is under way, says so, and the page asks again.
			if e.Entry.Level == log.LevelError && !strings.Contains(e.Entry.Text, "net::ERR_NETWORK_CHANGED") {
				p.faults = append(p.faults, e.Entry.Text+" "+e.Entry.URL)
			}
		case *network.EventRequestWillBeSent:
			p.addresses = append(p.addresses, e.Request.URL)
		case *network.EventWebSocketCreated:
			p.feeds = append(p.feeds, e.URL)
		case *network.EventWebSocketFrameReceived:
			p.heard = append(p.heard, e.Response.PayloadData)
		}
	})
	p.do(log.Enable(), network.Enable(), chromedp.EmulateViewport(1280, 900), chromedp.Navigate("http://"+w.address+"/"))
	return p
}

func (p *page) do(actions ...chromedp.Action) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Run(p.ctx, actions...))
}

// text is what an element shows.
func (p *page) text(selector string) (text string) {
	p.t.Helper()
	p.do(chromedp.Evaluate(`document.querySelector(`+"`"+selector+"`"+`)?.textContent.trim() ?? ""`, &text))
	return text
}

// shows waits until an element's text contains what is wanted.
func (p *page) shows(selector, want string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.text(selector), want) }, time.Minute, 100*time.Millisecond, "%s: %q", selector, want)
}

// list is what each of the elements shows.
func (p *page) list(selector string) (texts []string) {
	p.t.Helper()
	p.do(chromedp.Evaluate(`Array.from(document.querySelectorAll(`+"`"+selector+"`"+`), (e) => e.textContent.trim())`, &texts))
	return texts
}

// feed is the addresses of the WebSockets so far, and what came by them.
func (p *page) feed() (addresses, heard []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.feeds), slices.Clone(p.heard)
}

// picture is for people to look at: WEIR_SCREENSHOTS names a folder outside the tree.
func (p *page) picture(name string) {
	p.t.Helper()
	folder := os.Getenv("WEIR_SCREENSHOTS")
	if folder == "" {
		return
	}
	var data []byte
	p.do(chromedp.FullScreenshot(&data, 100))
	require.NoError(p.t, os.WriteFile(filepath.Join(folder, name+".png"), data, 0o600))
}

func shopVisits() (list []event.Event) {
	now := time.Now()
	for i := range 60 {
		e := pageView(now.Add(-time.Duration(i*i) * 20 * time.Second))
		e.UserID = "u" + string(rune('a'+i%7))
		e.Path, e.Country, e.Browser = []string{"/", "/pricing", "/products/lamp"}[i%3], []string{"DE", "FR"}[i%2], "Firefox"
		e.Device, e.Referrer = []string{"mobile", "desktop", "tablet", "mobile"}[i%4], "https://search.example/?q=lamp"
		if i%10 == 0 {
			e.Type, e.Value, e.HasValue, e.Currency = "purchase", 49_950_000, true, "EUR"
		}
		list = append(list, e)
	}
	return list
}

func TestDashboardShowsWhatTheAPIAnswersAndWhatHappens(t *testing.T) {
	w := newWorld(t, harness.NewSandbox(t))
	w.store(shopVisits()...)
	// As many connections as by default: on a busy machine the page's ten questions at once
	// must not wait for four until they are told to come back, which the console would show.
	w.start("LIVE_RECONCILE", "1h", "POSTGRES_POOL_SIZE", "20").current()
	p := open(t, w)
	p.shows("#state-text", "Live")
	var summary struct {
		Events int64
	}
	w.ok("/v1/metrics/summary", nil, &summary)
	require.EqualValues(t, 60, summary.Events)
	p.shows("#range-events", "60")
	p.shows("#users", "7")
	p.shows("#top-path li", "/")
	p.shows("#top-path li b", "20")
	p.shows("#top-country", "DE30 50%")
	p.shows("#top-device", "mobile30 50%")
	p.shows("#top-referrer", "https://search.example/?q=lamp60 100%")
	p.shows("#chart-table", "page_view")
	p.shows("#funnel", "View")
	p.shows("#status", "Dead letters")
	p.shows("#status", "PostgreSQL")

	// An update comes without a reload, and the sampled event with it.
	before := p.text("#live-events")
	sale := pageView(time.Now())
	sale.Type, sale.Path, sale.Value, sale.HasValue, sale.Currency = "purchase", "/checkout", 10_500_000, true, "EUR"
	b := w.store(sale)
	b.Sample = append(b.Sample, sale.AppendJSON(nil))
	w.publish(b)
	require.Eventually(t, func() bool { return p.text("#live-events") != before }, time.Minute, 50*time.Millisecond)
	p.shows("#ticker tbody", "/checkout")
	p.shows("#range-events", "61")
	p.shows("#rate", "0")
	p.shows("#live-value", "110")
	p.picture("light")
	p.do(chromedp.SetValue("#group", "country", chromedp.ByQuery))
	p.shows("#chart-table", "FR")

	// Names of columns stay in sight when a table is scrolled; those of rows go with their rows.
	var stay []string
	p.do(chromedp.Evaluate(`["thead", "tbody"].map((part) => getComputedStyle(document.querySelector("#chart-table " + part + " th")).position)`, &stay))
	require.Equal(t, []string{"sticky", "static"}, stay)

	// What the button does is its text, also to who hears it.
	p.do(chromedp.Click("#pause", chromedp.ByQuery))
	p.shows("#pause", "Go on")
	var pressed bool
	p.do(chromedp.Evaluate(`document.getElementById("pause").hasAttribute("aria-pressed")`, &pressed))
	require.False(t, pressed, "going on is not pressed")

	// Dark at the press of a button, and as the system is.
	ground := func() (colour string) {
		p.do(chromedp.Evaluate(`getComputedStyle(document.body).backgroundColor`, &colour))
		return colour
	}
	light := ground()
	p.do(chromedp.Click("#theme", chromedp.ByQuery))
	dark := ground()
	require.NotEqual(t, light, dark)
	p.picture("dark")
	p.do(chromedp.Evaluate(`localStorage.clear()`, nil), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
	require.Eventually(t, func() bool { return ground() == dark }, time.Minute, 50*time.Millisecond)

	// A phone: nothing is wider than the screen.
	p.do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
	var wide bool
	p.do(chromedp.Evaluate(`document.documentElement.scrollWidth > innerWidth`, &wide))
	require.False(t, wide, "it scrolls sideways")
	p.picture("phone")

	// By keyboard: everything that can be used is reached.
	reached := map[string]bool{}
	for range 14 {
		var at string
		p.do(chromedp.KeyEvent("\t"), chromedp.Evaluate(`(e => e.id || e.className || e.getAttribute("href") || e.tagName)(document.activeElement)`, &at))
		reached[at] = true
	}
	for _, id := range []string{"skip", "/docs/", "theme", "range", "group", "SUMMARY", "pause", "ticker"} {
		require.Contains(t, reached, id)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	for _, address := range p.addresses {
		require.Contains(t, address, w.address, "another host")
	}
	require.Empty(t, p.faults)
}

func TestDashboardShowsWhatWaitsAndHowFarUsersCome(t *testing.T) {
	w := newWorld(t, harness.NewSandbox(t))
	now := time.Now()
	act := func(user, kind string, ago time.Duration) event.Event {
		e := pageView(now.Add(-ago))
		e.UserID, e.Type = user, kind
		return e
	}
	w.store(
		act("buys", "page_view", 30*time.Minute), act("buys", "add_to_cart", 20*time.Minute), act("buys", "purchase", 10*time.Minute),
		act("fills", "page_view", 30*time.Minute), act("fills", "add_to_cart", 20*time.Minute),
		act("looks", "page_view", 30*time.Minute),
		act("looks later", "add_to_cart", 30*time.Minute), act("looks later", "page_view", 20*time.Minute))
	_, err := w.pool.Exec(t.Context(), `INSERT INTO dead_letters (stream, stream_id, payload, stage, reason, attempts, arrived_at)
		SELECT 's', n || '-1', '', CASE WHEN n < 3 THEN 'decode' ELSE 'validate' END, 'r', 1, now() FROM generate_series(1, 5) AS n`)
	require.NoError(t, err)
	// Nobody reads what waits, and it is as old as its id says.
	require.NoError(t, w.redis.XGroupCreateMkStream(t.Context(), w.box.StreamName, "weir", "0").Err())
	arrived := now.Add(-time.Hour)
	for n := range 3 {
		id := fmt.Sprintf("%d-%d", arrived.UnixMilli(), n)
		require.NoError(t, w.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: w.box.StreamName, ID: id, Values: []string{"event", "{}"}}).Err())
	}
	w.start("POSTGRES_POOL_SIZE", "20").current()
	p := open(t, w)
	p.shows("#state-text", "Live")
	p.shows("#status", "Oldest of them")
	names, values := p.list("#status dt"), p.list("#status dd")
	status := map[string]string{}
	for i, name := range names {
		status[name] = values[i]
	}
	require.Equal(t, "3 events", status["Waiting"])
	require.Equal(t, "5", status["Dead letters"])
	age, err := strconv.ParseFloat(strings.TrimSuffix(status["Oldest of them"], " s"), 64)
	require.NoError(t, err)
	require.GreaterOrEqual(t, age, time.Hour.Seconds())
	require.LessOrEqual(t, age, time.Since(arrived).Seconds()+5) // two clocks
	require.Regexp(t, ", "+arrived.Format("15:04")+"$", status["All stored up to"])

	p.shows("#funnel", "Buy")
	require.Equal(t, []string{"View4 100%", "Add to cart2 50%", "Buy1 25%"}, p.list("#funnel li"))
}

func TestDashboardAsksAgainWhenAnAnswerIsLost(t *testing.T) {
	w := newWorld(t, harness.NewSandbox(t))
	w.store(shopVisits()...)
	w.start().current()
	p := open(t, w)
	p.shows("#top-path li b", "20")

	lost := map[string]bool{}
	chromedp.ListenTarget(p.ctx, func(e any) {
		paused, ok := e.(*fetch.EventRequestPaused)
		if !ok {
			return
		}
		var answer chromedp.Action = fetch.ContinueRequest(paused.RequestID)
		if !lost[paused.Request.URL] {
			lost[paused.Request.URL] = true
			answer = fetch.FailRequest(paused.RequestID, network.ErrorReasonConnectionReset)
		}
		go func() { _ = chromedp.Run(p.ctx, answer) }()
	})
	p.do(fetch.Enable().WithPatterns([]*fetch.RequestPattern{{URLPattern: "*/v1/metrics/*"}}),
		chromedp.Evaluate(`document.getElementById("top-path").replaceChildren()`, nil),
		chromedp.SetValue("#range", "7d", chromedp.ByQuery),
		chromedp.Evaluate(`document.getElementById("range").dispatchEvent(new Event("change", { bubbles: true }))`, nil))
	p.shows("#top-path li b", "20")
	require.Empty(t, p.text(".fault"))
}

// The test holds back what the page asks about paths.
func TestDashboardAsksASlowQuestionSeldomAndNoneOfWhatIsNoLongerSelected(t *testing.T) {
	w := newWorld(t, harness.NewSandbox(t))
	w.store(shopVisits()...)
	w.start().current()
	p := open(t, w)
	p.shows("#top-path li b", "20")

	held, canceled := make(chan *fetch.EventRequestPaused, 100), map[network.RequestID]bool{}
	chromedp.ListenTarget(p.ctx, func(e any) {
		switch e := e.(type) {
		case *fetch.EventRequestPaused:
			held <- e
		case *network.EventLoadingFailed:
			p.mu.Lock()
			defer p.mu.Unlock()
			canceled[e.RequestID] = e.Canceled
		}
	})
	next := func() *fetch.EventRequestPaused {
		t.Helper()
		select {
		case e := <-held:
			return e
		case <-time.After(time.Minute):
			require.Fail(t, "the page does not ask")
			return nil
		}
	}
	othersAreAsked := func(times int) {
		t.Helper()
		asked := func() (n int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, address := range p.addresses {
				if strings.Contains(address, "/v1/metrics/summary") {
					n++
				}
			}
			return n
		}
		before := asked()
		require.Eventually(t, func() bool { return asked() >= before+times }, time.Minute, 50*time.Millisecond)
	}
	p.do(fetch.Enable().WithPatterns([]*fetch.RequestPattern{{URLPattern: "*/v1/metrics/top?*by=path*"}}),
		chromedp.Evaluate(`{ const now = performance.now.bind(performance); performance.now = () => 30 * now(); }`, nil)) // half a minute passes in a second
	first := next()
	othersAreAsked(2)
	require.Empty(t, held, "it is asked once more though it is not answered yet")

	p.do(chromedp.SetValue("#range", "7d", chromedp.ByQuery)) // says change
	second, since := next(), time.Now()
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return canceled[first.NetworkID]
	}, time.Minute, 50*time.Millisecond, "the page still waits for what is no longer selected")
	othersAreAsked(1)
	p.do(chromedp.Evaluate(`document.getElementById("top-path").replaceChildren()`, nil))
	took, answered := time.Since(since), time.Now()
	p.do(fetch.ContinueRequest(second.RequestID))
	p.shows("#top-path li b", "20")
	next()
	require.GreaterOrEqual(t, time.Since(answered), min(5*took, 15*time.Second))
}

func TestDashboardAsksForTheKeyAndOpensTheFeedWithATicket(t *testing.T) {
	w := newWorld(t, harness.NewSandbox(t))
	w.store(shopVisits()...)
	w.start("API_READ_KEYS", "sesame")
	p := open(t, w)
	p.do(chromedp.WaitVisible("#key", chromedp.ByQuery), chromedp.SendKeys("#key", "wrong\r", chromedp.ByQuery))
	p.shows("#ask-fault", "does not know")
	p.do(chromedp.Evaluate(`document.getElementById("key").value = ""`, nil), chromedp.SendKeys("#key", "sesame\r", chromedp.ByQuery))
	p.shows("#state-text", "Live")
	p.shows("#range-events", "60")
}

func TestPageLoadsOnlyWhatItMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	response := w.get("/", nil, nil)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, response.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.address+"/assets/app.js", nil)
	require.NoError(t, err)
	request.Header.Set("If-None-Match", w.get("/assets/app.js", nil, nil).Header.Get("ETag"))
	again, err := w.http.Do(request)
	require.NoError(t, err)
	require.NoError(t, again.Body.Close())
	require.Equal(t, http.StatusNotModified, again.StatusCode)
	require.Equal(t, http.StatusNotFound, w.get("/assets/other.js", nil, nil).StatusCode)
}
