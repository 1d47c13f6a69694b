package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

// TestClusterThatLosesANodeLosesNothing runs the pipeline on a Redis Cluster, with two
// consumers, and kills a master while events come. What was answered with 202 must be
// stored once: with INGESTION_DURABILITY=replica it was at the replica that takes the
// node's place. Nothing more is accepted until that one has a replica again.
func TestClusterThatLosesANodeLosesNothing(t *testing.T) {
	t.Parallel()
	cluster := harness.NewRedisCluster(t)
	shared := sandbox(t)
	box := *shared
	box.RedisURL = cluster.RedisURL
	pool := open(t, &box)

	const partitions = 6
	split := fmt.Sprintf("STREAM_PARTITIONS=%d", partitions)
	var consumers []*harness.Program
	for _, name := range []string{"a", "b"} {
		consumers = append(consumers, run(t, &box, "weir-consumer", append(hasty, split, "CONSUMER_NAME="+name)...))
	}
	ingestion := run(t, &box, "weir-ingestion", split, "INGESTION_DURABILITY=replica")
	a := asked{t, run(t, &box, "weir-api", split)}
	watching := a.live()

	var accepted []string // ids
	var posted int
	var comeBack time.Duration // when the last answer was to come again
	post := func() (ok bool) {
		const size = 60
		ids, body := make([]string, size), make([]string, size)
		for i := range ids {
			now := time.Now().UTC()
			ids[i] = event.NewID(now).String()
			body[i] = fmt.Sprintf(`{"id":%q,"time":%q,"type":"a","user_id":"u%d"}`, ids[i], now.Format(time.RFC3339Nano), i)
		}
		r := do(t, http.MethodPost, ingestion.URL+"/v1/events", "application/json", "["+strings.Join(body, ",")+"]")
		posted += size
		if r.status == http.StatusAccepted {
			accepted = append(accepted, ids...)
			return true
		}
		require.Equal(t, http.StatusServiceUnavailable, r.status, r.body)
		seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
		require.NoError(t, err)
		comeBack = time.Duration(seconds) * time.Second
		return false
	}
	postAll := func(requests int) {
		t.Helper()
		given := time.Now()
		for range requests {
			for !post() {
				require.Less(t, time.Since(given), patience)
				time.Sleep(comeBack) // as the answer said
			}
		}
	}

	drained := func() {
		t.Helper()
		require.Eventually(t, func() bool {
			var status struct {
				Stream struct {
					Error      string
					Events     int64
					Partitions []struct{ Length int64 }
				}
			}
			a.get("/v1/status").into(t, &status)
			return status.Stream.Error == "" && status.Stream.Events == 0 && len(status.Stream.Partitions) == partitions
		}, patience, 50*time.Millisecond)
	}

	postAll(30)
	killed := make(chan error, 1)
	go func() { killed <- cluster.KillMasterOf(t.Context(), event.StreamKey(box.StreamName, 0, partitions)) }()
	for post() { // until it is refused
	}
	require.NoError(t, <-killed)
	drained() // from the replica in the master's place
	require.NoError(t, cluster.Restart(t.Context()))
	postAll(30)

	// All is consumed, by both, and what is stored is what was accepted and perhaps some of
	// what was not.
	drained()
	lost := number(t, pool, `SELECT count(*) FROM unnest($1::uuid[]) AS accepted (id) WHERE NOT EXISTS (SELECT FROM events e WHERE e.id = accepted.id)`, accepted)
	require.Zero(t, lost, "of %d accepted events", len(accepted))
	stored := number(t, pool, `SELECT count(*) FROM events`)
	require.LessOrEqual(t, stored, int64(posted))
	require.Equal(t, stored, number(t, pool, `SELECT count(DISTINCT id) FROM events`), "stored once")
	require.Zero(t, number(t, pool, `SELECT count(*) FROM dead_letters`))
	rollupsEqualRaw(t, pool)
	for _, c := range consumers {
		require.NotContains(t, do(t, http.MethodGet, c.URL+"/metrics", "", "").body, `weir_consumer_events_total{outcome="stored"} 0`+"\n")
	}
	watching.until(stored)
}
