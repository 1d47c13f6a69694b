package api_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

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
	params = url.Values(http.Header(params).Clone())
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
func (w *world) sorted(filter url.Values) (ids []string) {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `SELECT id::text FROM events WHERE ($1 = '' OR type = $1) AND ($2 = '' OR source = $2)
		ORDER BY time DESC, id DESC`, filter.Get("type"), filter.Get("source"))
	require.NoError(w.t, err)
	var id string
	for rows.Next() {
		require.NoError(w.t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(w.t, rows.Err())
	return ids
}

func TestCursorPagesAreTheWholeWithoutRepeatsWhileEventsArrive(t *testing.T) {
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
		if i%3 == 0 {
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

	for _, filter := range []url.Values{{}, {"type": {"click"}}, {"source": {"rare"}}, {"source": {"web"}, "type": {"page_view"}}, {"type": {"none"}}} {
		want := w.sorted(filter)
		params := url.Values{"limit": {"17"}}
		for name, v := range filter {
			params[name] = v
		}
		since := map[string]bool{}
		got, pages := w.walk(params, func() {
			newer := pageView(time.Now().Add(24 * time.Hour).Add(-time.Minute))
			late := pageView(now.Add(-rand.N(40 * 24 * time.Hour))) // before the cursor's place or behind it
			w.store(newer, late)
			since[newer.ID.String()], since[late.ID.String()] = true, true
		})
		require.Equal(t, max(1, (len(got)+16)/17), pages)
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(got))), len(got), "%v: no repeats", filter)
		got = slices.DeleteFunc(got, func(id string) bool { return since[id] })
		require.Equal(t, want, got, "%v: the whole, in order", filter)
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
		require.Equal(t, w.sorted(nil), got)
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

func TestWithoutEventsThePageIsEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	var page answeredList
	w.ok("/v1/events", nil, &page)
	require.NotNil(t, page.Items)
	require.Empty(t, page.Items)
	require.Nil(t, page.NextCursor)
}
