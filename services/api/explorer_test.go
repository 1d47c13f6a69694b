package api_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

type answeredList struct {
	Items      []map[string]any
	NextCursor *string `json:"next_cursor"`
}

// walk follows the cursor to the end. between is called after each page.
func (w *world) walk(params url.Values, between func()) (ids []string, pages int) {
	w.t.Helper()
	params, ids = url.Values(http.Header(params).Clone()), []string{}
	for {
		var page answeredList
		w.ok("/v1/events", params, &page)
		pages++
		for _, item := range page.Items {
			ids = append(ids, item["id"].(string))
		}
		if page.NextCursor == nil {
			return ids, pages
		}
		params.Set("cursor", *page.NextCursor)
		between()
	}
}

// sorted is what the walk should give, asked plainly.
func (w *world) sorted(where string) []string {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `SELECT id::text FROM events WHERE `+where+` ORDER BY time DESC, id DESC`)
	require.NoError(w.t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w.t, err)
	return ids
}

// among keeps the ids that are among others.
func among(others, ids []string) []string {
	known := map[string]bool{}
	for _, id := range others {
		known[id] = true
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !known[id] })
}

// writing stores events like others until it is stopped: newer than all of them, at the
// time of one of them, and older, some in the log and some folded. Whoever waits is told
// of a commit.
func (w *world) writing(like []event.Event) (committed <-chan struct{}, stop func()) {
	told, ended := make(chan struct{}), make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		defer close(told) // nobody waits in vain, should it have failed
		for n := 0; ; n++ {
			var more []event.Event
			for _, at := range []time.Time{
				time.Now().Add(event.MaxFuture - time.Minute), like[rand.N(len(like))].Time, time.Now().Add(-rand.N(40 * 24 * time.Hour)),
			} {
				e, moved := like[rand.N(len(like))], pageView(at)
				e.ID, e.Time = moved.ID, moved.Time
				more = append(more, e)
			}
			w.store(more...)
			if n%100 == 99 {
				w.fold()
			}
			select {
			case told <- struct{}{}:
			case <-ended:
				return
			default:
			}
		}
	})
	return told, func() { close(ended); running.Wait() }
}

func TestCursorPagesAreTheWholeWithoutRepeatsWhileWritingGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	now := time.Now()
	var events []event.Event
	for i := range 400 {
		at := now.Add(-time.Duration(i%7) * time.Second) // many share a time
		if i > 300 {
			at = now.AddDate(0, 0, -i%40).Truncate(time.Hour) // and some are long ago
		}
		e := pageView(at)
		e.Country, e.Properties = []string{"DE", "FR", ""}[i%3], []string{"", `{"plan": "team"}`}[i%2]
		switch {
		case i%50 == 49:
			e.Type = "rare"
		case i%3 == 0:
			e.Type = "click"
		}
		if i%150 == 149 {
			e.Source = "rare"
		}
		events = append(events, e)
	}
	future := pageView(now.Add(23 * time.Hour))
	w.store(append(events[:250:250], future)...)
	w.fold()
	w.store(events[250:]...)
	w.start()
	committed, stop := w.writing(events)
	defer stop()

	for _, c := range []struct {
		params url.Values
		limit  int
		where  string
	}{
		{nil, 17, `true`},
		{url.Values{"type": {"click"}}, 17, `type = 'click'`},
		{url.Values{"type": {"rare"}}, 2, `type = 'rare'`},
		{url.Values{"source": {"rare"}}, 1, `source = 'rare'`},
		{url.Values{"source": {"web"}, "type": {"page_view"}}, 17, `source = 'web' AND type = 'page_view'`},
		{url.Values{"type": {"none"}}, 17, `false`},
		{url.Values{"filter": {`properties.plan is "team" or path exists`}}, 17, `properties ->> 'plan' = 'team' OR path IS NOT NULL`},
		{url.Values{"filter": {`country is "DE" and not type is "click"`}}, 2, `country = 'DE' AND type <> 'click'`},
		{url.Values{"filter": {`not country exists`}, "type": {"page_view"}}, 5, `country IS NULL AND type = 'page_view'`},
	} {
		params := url.Values{"limit": {strconv.Itoa(c.limit)}}
		maps.Copy(params, c.params)
		want := w.sorted(c.where)
		got, pages := w.walk(params, func() { <-committed })
		all := w.sorted(c.where)
		require.Equal(t, max(1, (len(got)+c.limit-1)/c.limit), pages, c.params)
		require.Equal(t, want, among(want, got), "%v: all that was there at the start, once, in order", c.params)
		require.Equal(t, among(got, all), got, "%v: what has come since is in its place, and once", c.params)
	}
}

// A crowded minute is read in slices, from wherever the cursor stands in it.
func TestCursorPassesThroughACrowdedMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	minute := time.Now().Add(-time.Hour).Truncate(time.Minute)
	var events []event.Event
	for i := range 5000 { // most of them in its last second
		at := minute.Add(59*time.Second + time.Duration(i)*200*time.Microsecond)
		if i%100 == 0 {
			at = minute.Add(time.Duration(i) * 10 * time.Millisecond)
		}
		events = append(events, pageView(at))
	}
	events = append(events, pageView(minute.Add(-time.Millisecond)), pageView(minute.Add(61*time.Second)))
	w.store(events...)
	w.start()
	for _, limit := range []int{7, 1000} {
		if limit == 7 {
			var page answeredList
			w.ok("/v1/events", url.Values{"limit": {"7"}}, &page)
			require.Len(t, page.Items, 7)
			continue
		}
		got, _ := w.walk(url.Values{"limit": {strconv.Itoa(limit)}}, func() {})
		require.Equal(t, w.sorted("true"), got)
	}
}

func TestItemsAreTheEventsAsTheyWereSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	at := time.Date(2026, 3, 1, 10, 0, 0, 123456000, time.UTC)
	e := pageView(at)
	e.Path, e.Value, e.HasValue, e.Currency = "/a\"b", 129_950_000, true, "EUR"
	e.Properties = `{"n": 12345678901234567890.5, "deep": {"list": [1, "x"]}}`
	w.store(e, pageView(at.Add(-time.Second)))
	w.start()

	var one map[string]any
	w.ok("/v1/events/"+e.ID.String(), nil, &one)
	want := map[string]any{
		"id": e.ID.String(), "type": "page_view", "time": "2026-03-01T10:00:00.123456Z", "source": "web", "user_id": "u", "path": `/a"b`,
		"value": json.Number("129.95"), "currency": "EUR",
		"properties": map[string]any{"n": json.Number("12345678901234567890.5"), "deep": map[string]any{"list": []any{json.Number("1"), "x"}}},
	}
	require.Equal(t, want, one)
	var page answeredList
	w.ok("/v1/events", url.Values{"limit": {"1"}}, &page)
	require.Equal(t, want, page.Items[0])
	require.NotNil(t, page.NextCursor)

	response := w.get("/v1/events/"+event.NewID(at).String(), nil, nil)
	require.Equal(t, http.StatusNotFound, response.StatusCode)
}

// TestCursorPassesThroughAMinuteThatStops: of a minute whose events are all in one part of it,
// pages of any size have them all.
func TestCursorPassesThroughAMinuteThatStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	minute := time.Now().Add(-time.Hour).Truncate(time.Minute)
	var events []event.Event
	for hour, from := range []time.Duration{0, 17 * time.Second, 30 * time.Second, 59500 * time.Millisecond} {
		start := minute.Add(-time.Duration(hour) * time.Hour)
		events = append(events, pageView(start)) // alone, before a gap
		for i := range 400 {
			e := pageView(start.Add(from + time.Duration(i)*time.Millisecond))
			e.Type = []string{"page_view", "page_view", "click"}[i%3]
			events = append(events, e)
		}
		for i := range 20 { // and goes on slowly, for some time
			events = append(events, pageView(start.Add(from/2+20*time.Second+time.Duration(i)*200*time.Millisecond)))
		}
	}
	w.store(events...)
	w.fold()
	w.start()
	for _, params := range []url.Values{{"limit": {"11"}}, {"limit": {"150"}}, {"limit": {"30"}, "type": {"click"}}, {"limit": {"30"}, "filter": {`type is "click"`}}} {
		where := "true"
		if len(params) > 1 {
			where = "type = 'click'"
		}
		got, _ := w.walk(params, func() {})
		require.Equal(t, w.sorted(where), got, "%v", params)
	}
}

func TestWithoutEventsThePageIsEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	var page answeredList
	w.ok("/v1/events", nil, &page)
	require.NotNil(t, page.Items)
	require.Empty(t, page.Items)
	require.Nil(t, page.NextCursor)
}
