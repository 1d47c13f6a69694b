package api_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

// TestWhatIsRememberedIsWhatTheRowsSay asks the same again and again while late events
// come into days, hours and minutes that were asked about before, some in the log and
// some folded: the answer from rollups is always that from the rows.
func TestWhatIsRememberedIsWhatTheRowsSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("API_ROLLUP_MEMORY_MIB", "1")
	r := rand.New(rand.NewPCG(3, 1))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	from := time.Date(2026, 3, 1, 21, 58, 0, 0, time.UTC)
	to := from.Add(4*24*time.Hour + 4*time.Hour + 4*time.Minute)
	span := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
	with := func(pairs ...string) url.Values {
		p := url.Values{"from": span["from"], "to": span["to"]}
		for i := 0; i < len(pairs); i += 2 {
			p.Set(pairs[i], pairs[i+1])
		}
		return p
	}
	questions := []struct {
		path   string
		params url.Values
	}{
		{"/v1/metrics/summary", with("metrics", "users,sessions")},
		{"/v1/metrics/users", with("type", "click")},
		{"/v1/metrics/top", with("by", "path", "type", "page_view", "limit", "3")},
		{"/v1/metrics/breakdown", with("rows", "type", "columns", "country")},
		{"/v1/metrics/timeseries", with("interval", "hour")},
		{"/v1/metrics/timeseries", with("interval", "hour", "type", "click", "timezone", "Asia/Kolkata")},
		{"/v1/metrics/timeseries", with("interval", "day", "group_by", "path", "limit", "2")},
		{"/v1/metrics/timeseries", with("interval", "week", "group_by", "type", "timezone", "Europe/Berlin")},
	}
	same := func(when string) {
		t.Helper()
		for _, q := range questions {
			var rolled, raw map[string]any
			w.ok(q.path, q.params, &rolled)
			w.ok(q.path, asRaw(q.params), &raw)
			require.Equal(t, "rollups", rolled["meta"].(map[string]any)["served_by"])
			delete(rolled, "meta")
			delete(raw, "meta")
			require.Equal(t, raw, rolled, "%s, %s, %s", q.path, q.params.Encode(), when)
		}
	}
	for round := range 12 {
		events := make([]event.Event, 1+r.IntN(40))
		for i := range events {
			e := pageView(from.Add(-5 * time.Minute).Add(time.Duration(r.Int64N(int64(to.Sub(from) + 10*time.Minute)))))
			e.Type, e.Path, e.Country = pick("page_view", "click"), pick("/", "/a", "/b", "/c"), pick("", "DE", "FR")
			e.UserID, e.SessionID = fmt.Sprintf("u-%d", r.IntN(300)), fmt.Sprintf("s-%d", r.IntN(300))
			e.Value, e.HasValue, e.Currency = r.Int64N(2e9), true, "EUR"
			if r.IntN(5) == 0 {
				e.Value = 9e17 // ten of them overflow 64 bits
			}
			events[i] = e
		}
		w.store(events...)
		same(fmt.Sprintf("in the log, round %d", round))
		if r.IntN(3) > 0 {
			w.fold()
			same(fmt.Sprintf("folded, round %d", round))
		}
	}

	// A rebuild changes what no fold does: here rows vanish.
	w.fold()
	for _, sql := range []string{
		`DELETE FROM events WHERE type = 'click'`,
		`DELETE FROM rollup_day WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`DELETE FROM rollup_hour WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`DELETE FROM rollup_minute WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`DELETE FROM users_day WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`DELETE FROM users_hour WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`DELETE FROM users_minute WHERE key_id IN (SELECT id FROM rollup_keys WHERE type = 'click')`,
		`INSERT INTO rebuilds (day, corrected) VALUES ('2026-03-02', 1)`,
	} {
		_, err := w.pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	same("rebuilt")
}
