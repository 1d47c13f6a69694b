package api_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

// BenchmarkRawRows measures what the limits on reading rows are about, over 600,000
// events of an hour: an explorer's page that looks through maxScanned of them in vain,
// what a slice of a behaviour question costs besides its rows, and one with 200,000.
func BenchmarkRawRows(b *testing.B) {
	w := newWorld(b, harness.NewSandbox(b))
	hour := time.Now().Add(-2 * time.Hour).Truncate(time.Hour).UTC()
	_, err := w.pool.Exec(b.Context(), `
		INSERT INTO events (id, time, type, source, user_id, session_id, path, referrer, country, device, browser, os, properties)
		SELECT gen_random_uuid(), $1::timestamptz + n * interval '6 ms', 'page_view', 'web', 'u' || n % 9973, 's' || n % 99991, '/' || n % 2000, 'https://example.com/', 'DE', 'mobile', 'Firefox', 'Android',
		       jsonb_build_object('plan', 'team', 'title', repeat('x', 60), 'width', n % 1000, 'tags', '["a","b"]'::jsonb)
		FROM generate_series(0, 599999) AS n`, hour)
	require.NoError(b, err)
	view := pageView(hour)
	view.Path = "/x"
	w.store(view) // makes the keys
	_, err = w.pool.Exec(b.Context(), `
		INSERT INTO rollup_deltas (minute, key_id, events, dimension, value)
		SELECT extract(epoch FROM $1::timestamptz)::int / 60 + n, id, 10000, 0, 0 FROM rollup_keys, generate_series(0, 59) AS n WHERE dimension = 0`, hour)
	require.NoError(b, err)
	_, err = w.pool.Exec(b.Context(), `VACUUM ANALYZE events`)
	require.NoError(b, err)
	w.start("LIVE_RECONCILE", "1h")

	for _, filter := range []string{`country is "NZ"`, `path contains "none"`, `properties.plan is "solo" or properties.width > 5000`} {
		b.Run("page of 500,000 events in vain, "+filter, func(b *testing.B) {
			for b.Loop() {
				w.ok("/v1/events", url.Values{"filter": {filter}}, new(any))
			}
		})
	}
	slice := func(length time.Duration) func(*testing.B) {
		return func(b *testing.B) {
			conn, err := w.pool.Acquire(b.Context())
			require.NoError(b, err)
			defer conn.Release()
			_, err = conn.Exec(b.Context(), `SET max_parallel_workers_per_gather = 0; SET plan_cache_mode = force_custom_plan; SET jit = off`)
			require.NoError(b, err)
			for b.Loop() {
				rows, err := conn.Query(b.Context(), `SELECT session_id, time, path FROM events WHERE time >= $1 AND time < $2`, hour, hour.Add(length))
				require.NoError(b, err)
				for rows.Next() {
				}
				require.NoError(b, rows.Err())
			}
		}
	}
	b.Run("slice of one event", slice(time.Millisecond))
	b.Run("slice of 200,000 events", slice(20*time.Minute))
}
