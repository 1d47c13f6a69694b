package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/openapi/client/live"
	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
)

// TestLiveClientsAreToldWhenRedisFallsSilent: only the api loses touch with Redis, and
// nothing says so, as no connection is closed. Events are stored all the while.
func TestLiveClientsAreToldWhenRedisFallsSilent(t *testing.T) {
	t.Parallel()
	var redis *network
	w := start(t, func(a *api.Config, _ *consumer.Config, _ *ingestion.Config) {
		redis = through(t, a.Redis.URL)
		a.Redis.URL = redis.url
	})
	post := func(n int) {
		r := w.post("[" + strings.TrimSuffix(strings.Repeat(`{"type":"a","user_id":"u"},`, n), ",") + "]")
		require.Equal(t, http.StatusAccepted, r.status, r.body)
	}
	next := w.follow(live.Subscription{Metrics: true})
	epoch := ""
	// shows reads on until so many events are shown.
	shows := func(events int64) {
		t.Helper()
		for {
			switch m := next().(type) {
			case live.Snapshot:
				require.NotEqual(t, epoch, m.Epoch, "a snapshot after a loss begins an epoch")
				if epoch = m.Epoch; m.Totals.Events == events {
					return
				}
			case live.Delta:
				if m.Totals.Events == events {
					return
				}
			}
		}
	}
	stale := func() {
		t.Helper()
		for _, told := next().(live.Stale); !told; _, told = next().(live.Stale) {
		}
	}
	shows(0)
	post(1)
	shows(1)

	require.NoError(t, redis.fail(halfOpen))
	post(3)
	reach(t, w.pool, 4, `SELECT count(*) FROM events`)
	stale()
	require.NoError(t, redis.heal())
	shows(4)
	post(1)
	shows(5)

	// A connection that is closed is noticed at once.
	require.NoError(t, redis.cut(10*time.Millisecond))
	stale()
	shows(5)
}
