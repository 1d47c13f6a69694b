package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

// TestReplicaAnswersAndItsLossIsBridged runs the pipeline with a streaming replica for
// the api's questions, holds the replica back, and takes away first it and then the
// primary.
func TestReplicaAnswersAndItsLossIsBridged(t *testing.T) {
	t.Parallel()
	servers, box := private(t)
	replica, err := servers.StartReplica(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, replica.Close()) })
	address, err := url.Parse(replica.PostgresURL)
	require.NoError(t, err)
	primaryURL, err := url.Parse(box.PostgresURL)
	require.NoError(t, err)
	address.Path = primaryURL.Path
	primary := open(t, box)
	standby, err := pgxpool.New(t.Context(), address.String())
	require.NoError(t, err)
	t.Cleanup(standby.Close)

	run(t, box, "weir-consumer", "ROLLUP_FOLD_INTERVAL=100ms")
	ingestion := run(t, box, "weir-ingestion")
	program, said := runFrom(t, box, binaries(t), "weir-api", "POSTGRES_READ_URL="+address.String(), "LIVE_RECONCILE=1s", "LIVE_HEARTBEAT=1s")
	a := asked{t, program}
	sent := int64(0)
	send := func(n int) {
		t.Helper()
		sent += int64(n)
		body := strings.TrimSuffix(strings.Repeat(`{"type":"a","user_id":"u","session_id":"s"},`, n), ",")
		require.Equal(t, http.StatusAccepted, postWhenUp(t, ingestion.URL+"/v1/events", "application/json", "["+body+"]").status)
		reach(t, primary, sent, `SELECT count(*) FROM events`)
	}

	// The replica answers, and as of what it has replayed.
	send(10)
	a.until(10)
	early := a.live()
	early.until(10)
	_, err = standby.Exec(t.Context(), `SELECT pg_wal_replay_pause()`)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return number(t, standby, `SELECT (pg_get_wal_replay_pause_state() = 'paused')::int`) == 1
	}, patience, 20*time.Millisecond)
	send(5)
	more := time.Now()
	events, asOf := a.summary("")
	require.EqualValues(t, 10, events, "the primary has 15")
	require.True(t, asOf.Before(more), "as of %v, when the primary had more already, since %v at least", asOf, more)
	events, _ = a.summary("&filter=" + url.QueryEscape(`os exists or not os exists`))
	require.EqualValues(t, 10, events)
	require.Equal(t, http.StatusOK, a.get("/v1/sessions").status, "several connections share a snapshot")
	require.Eventually(t, func() bool { s := a.status(); return s.Replica && s.Lag > 0.5 }, patience, 50*time.Millisecond, "the lag is told")
	_, asOf = a.summary("")
	require.True(t, asOf.Before(more), "as of %v", asOf)
	require.Contains(t, a.get("/metrics").body, "weir_api_replica_up 1")
	require.NotContains(t, a.get("/metrics").body, "weir_api_replica_lag_seconds 0\n")

	// The live feed is not held back: who comes now gets all, and who was there as well.
	late := a.live()
	late.until(15)
	send(3)
	late.until(18)
	early.until(18)
	early.heartbeats(5) // a second each; once a second the numbers are compared with the primary's of two seconds ago
	require.EqualValues(t, 18, early.total)
	require.NotContains(t, said.String(), "differed from the database")

	_, err = standby.Exec(t.Context(), `SELECT pg_wal_replay_resume()`)
	require.NoError(t, err)
	a.until(18)
	require.Eventually(t, func() bool { s := a.status(); return s.Replica && s.Lag < 1.5 }, patience, 50*time.Millisecond)
	// A quiet primary's replica is not old, though its last commit is.
	quiet := time.Now()
	require.Eventually(t, func() bool { _, asOf := a.summary(""); return asOf.After(quiet) }, patience, 50*time.Millisecond)

	// The replica is lost: the primary answers in its place, and the api stays ready.
	require.NoError(t, replica.Kill(t.Context()))
	send(1)
	a.until(19)
	require.Eventually(t, func() bool { s := a.status(); return !s.Replica && s.Error != "" }, patience, 50*time.Millisecond)
	require.Contains(t, a.get("/metrics").body, "weir_api_replica_up 0")
	require.Equal(t, http.StatusOK, a.get("/readyz").status)
	events, asOf = a.summary("")
	require.EqualValues(t, 19, events)
	require.WithinDuration(t, time.Now(), asOf, time.Minute)

	require.NoError(t, replica.Start(t.Context()))
	require.Eventually(t, func() bool { s := a.status(); return s.Replica && s.Error == "" }, patience, 50*time.Millisecond)
	a.until(19)

	// The primary is lost: questions go on.
	require.NoError(t, servers.KillPostgres(t.Context()))
	a.until(19)
	require.Equal(t, http.StatusOK, a.get("/readyz").status)
	require.True(t, a.status().Replica)
}

// asked is an api that is asked.
type asked struct {
	t *testing.T
	*harness.Program
}

func (a asked) get(path string) reply {
	a.t.Helper()
	return do(a.t, http.MethodGet, a.URL+path, "", "")
}

// summary returns the number of all events and of which instant it is, or -1 while the
// server that was asked is just going away.
func (a asked) summary(params string) (events int64, asOf time.Time) {
	a.t.Helper()
	r := a.get("/v1/metrics/summary?type=a" + params)
	if r.status == http.StatusServiceUnavailable {
		require.NotEmpty(a.t, r.header.Get("Retry-After"))
		return -1, time.Time{}
	}
	require.Equal(a.t, http.StatusOK, r.status, r.body)
	var body struct {
		Events int64
		Meta   struct {
			AsOf time.Time `json:"as_of"`
		}
	}
	r.into(a.t, &body)
	return body.Events, body.Meta.AsOf
}

func (a asked) until(events int64) {
	a.t.Helper()
	require.Eventually(a.t, func() bool { n, _ := a.summary(""); return n == events }, patience, 20*time.Millisecond, "waiting for %d", events)
}

type replicaStatus struct {
	Replica bool
	Lag     float64 `json:"replica_lag_seconds"`
	Error   string  `json:"replica_error"`
}

func (a asked) status() replicaStatus {
	a.t.Helper()
	r := a.get("/v1/status")
	require.Equal(a.t, http.StatusOK, r.status, r.body)
	var body struct{ Servers replicaStatus }
	r.into(a.t, &body)
	return body.Servers
}

// onlooker is a client of the live feed that keeps the total.
type onlooker struct {
	t     *testing.T
	conn  *websocket.Conn
	total int64
}

func (a asked) live() *onlooker {
	a.t.Helper()
	conn, _, err := websocket.Dial(a.t.Context(), strings.Replace(a.URL, "http", "ws", 1)+"/v1/live", nil)
	require.NoError(a.t, err)
	a.t.Cleanup(func() { _ = conn.CloseNow() })
	return &onlooker{t: a.t, conn: conn, total: -1}
}

// next reads a message and returns its type; those with counts tell the total of the
// last hour.
func (o *onlooker) next(ctx context.Context) string {
	o.t.Helper()
	_, data, err := o.conn.Read(ctx)
	require.NoError(o.t, err, "the total is %d", o.total)
	var m struct {
		Type   string
		Totals *struct{ Events int64 }
	}
	require.NoError(o.t, json.Unmarshal(data, &m))
	if m.Totals != nil {
		o.total = m.Totals.Events
	}
	return m.Type
}

// heartbeats waits for n of them.
func (o *onlooker) heartbeats(n int) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	for n > 0 {
		if o.next(ctx) == "heartbeat" {
			n--
		}
	}
}

func (o *onlooker) until(total int64) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	for o.total != total {
		require.LessOrEqual(o.t, o.total, total, "something was counted twice")
		o.next(ctx)
	}
}
