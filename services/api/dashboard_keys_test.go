package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

func TestDashboardIsWorkedByKeysAlone(t *testing.T) {
	w := newWorld(t, harness.NewSandbox(t))
	now := time.Now()
	old := pageView(now.Add(-3 * time.Hour))
	old.Type, old.Path = "purchase", "/checkout"
	lately := several(3, now.Add(-10*time.Minute))
	for i := range lately {
		lately[i].Path = "/pricing"
	}
	w.store(append(lately, old)...)
	w.start("POSTGRES_POOL_SIZE", "20", "LIVE_RECONCILE", "1h").current()
	p := open(t, w)
	p.shows("#state-text", "Live")
	p.shows("#range-events", "4")
	p.shows("#chart-table thead", "purchase")
	p.shows("#top-path", "/checkout")
	require.Contains(t, p.label("#chart svg"), "4 in all, at most 3 in one hour")

	// Another range: from a day to an hour.
	p.tabTo("range")
	p.do(chromedp.KeyEvent(kb.ArrowUp))
	p.shows("#range-events", "3")
	p.shows("#chart-panel [data-range]", "in the last hour")
	require.Eventually(t, func() bool { return strings.Contains(p.label("#chart svg"), "3 in all, at most 3 in one minute") }, time.Minute, 50*time.Millisecond)
	require.NotContains(t, p.text("#chart-table thead"), "purchase")

	// The ticker is held, and goes on.
	visit := func(path string) {
		e := pageView(time.Now())
		e.Path = path
		b := w.store(e)
		b.Sample = append(b.Sample, e.AppendJSON(nil))
		w.publish(b)
	}
	p.tabTo("pause")
	p.do(chromedp.KeyEvent(" "))
	p.shows("#pause", "Go on")
	visit("/unseen")
	require.Eventually(t, func() bool { return p.hears("events").Type != "" }, time.Minute, 50*time.Millisecond)
	p.do(chromedp.KeyEvent(kb.Enter))
	p.shows("#pause", "Pause")
	visit("/seen")
	p.shows("#ticker tbody", "/seen")
	require.NotContains(t, p.text("#ticker tbody"), "/unseen")
}

func TestEverythingOnTheDashboardThatCanBeUsedHasAName(t *testing.T) {
	w := newWorld(t, harness.NewSandbox(t)).start().current()
	p := open(t, w)
	p.shows("#state-text", "Live")
	p.shows("#chart .legend", "Events") // of none there are groups, nor all else
	p.do(chromedp.Evaluate(`document.getElementById("ask").hidden = false; document.querySelector("details").open = true`, nil))
	require.ElementsMatch(t, []string{
		"link: Skip to the numbers", "link: API", "button: Dark", "textbox: Read key", "button: Open",
		"combobox: Range", "combobox: Group by", "DisclosureTriangle: As a table", "region: Events over time, as a table",
		"button: Pause", "region: Sampled events, newest first",
	}, p.usable())
}

// usable is all that the keyboard reaches, as whoever hears the page is told of it: what
// it is, and its name.
func (p *page) usable() (list []string) {
	p.t.Helper()
	type value struct {
		Value any `json:"value"`
	}
	var tree struct {
		Nodes []struct {
			Role       value `json:"role"`
			Name       value `json:"name"`
			Properties []struct {
				Name  string `json:"name"`
				Value value  `json:"value"`
			} `json:"properties"`
		} `json:"nodes"`
	}
	// The package's own type knows fewer properties than browsers have, and fails at others.
	p.do(chromedp.ActionFunc(func(ctx context.Context) error {
		return cdp.Execute(ctx, accessibility.CommandGetFullAXTree, nil, &tree)
	}))
	for _, n := range tree.Nodes {
		switch n.Role.Value {
		case "RootWebArea", "main", "option": // reached by a script, or within another
			continue
		}
		for _, property := range n.Properties {
			if property.Name == "focusable" && property.Value.Value == true {
				list = append(list, fmt.Sprintf("%v: %v", n.Role.Value, n.Name.Value))
			}
		}
	}
	return list
}

// tabTo goes on to an element with the Tab key.
func (p *page) tabTo(id string) {
	p.t.Helper()
	for range 30 {
		var at string
		p.do(chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(`document.activeElement.id`, &at))
		if at == id {
			return
		}
	}
	require.Fail(p.t, "the Tab key does not reach it", id)
}

// label is what an element is called to who hears the page.
func (p *page) label(selector string) (label string) {
	p.t.Helper()
	p.do(chromedp.Evaluate(`document.querySelector(`+"`"+selector+"`"+`)?.ariaLabel ?? ""`, &label))
	return label
}
