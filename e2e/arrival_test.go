package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/openapi/client/live"
	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
)

type answer struct {
	Accepted, Rejected int
	Results            []struct {
		Index      int
		ID, Status string
		Errors     []struct{ Field, Rule string }
	}
}

func TestPostedEventsArriveOnceAndAreCounted(t *testing.T) {
	t.Parallel()
	w := start(t)
	at := time.Now().UTC().Add(-time.Minute).Format(time.RFC3339Nano)
	var batch []string
	for i := range 100 {
		batch = append(batch, fmt.Sprintf(`{"id":"order-%d","time":%q,"type":"purchase","user_id":"u%d","path":"/done","value":19.99,"currency":"EUR","properties":{"n":%d}}`, i, at, i%7, i))
	}
	array := "[" + strings.Join(batch, ",") + "]"

	// Three times the same: a client that retries, as array and as NDJSON.
	var got answer
	for _, send := range []func() reply{
		func() reply { return w.post(array, "X-Write-Key", "web-shop") },
		func() reply { return w.post(array, "Authorization", "Bearer web-shop") },
		func() reply {
			return postWhenUp(t, w.ingestion+"/v1/events", "application/x-ndjson", strings.Join(batch, "\n"), "X-Write-Key", "web-shop")
		},
	} {
		r := send()
		require.Equal(t, http.StatusAccepted, r.status, r.body)
		r.into(t, &got)
		require.Equal(t, 100, got.Accepted)
		require.Len(t, got.Results, 100)
	}

	// The api counts each once.
	query := "?" + url.Values{"from": {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)}}.Encode()
	var summary struct {
		Events int64
		Value  float64
	}
	require.Eventually(t, func() bool {
		r := w.get("/v1/metrics/summary" + query)
		require.Equal(t, http.StatusOK, r.status, r.body)
		r.into(t, &summary)
		return summary.Events >= 100
	}, patience, 20*time.Millisecond)
	settle(t, w)
	w.get("/v1/metrics/summary"+query).into(t, &summary)
	require.EqualValues(t, 100, summary.Events)
	require.InDelta(t, 1999.0, summary.Value, 1e-9)
	require.EqualValues(t, 100, number(t, w.pool, `SELECT count(*) FROM events WHERE source = 'web-shop'`))
	rollupsEqualRaw(t, w.pool)

	// And gives them back, page by page.
	seen := map[string]bool{}
	for cursor := ""; ; {
		var page struct {
			Items []struct {
				ID, Type, Source string
				Value            float64
				Properties       map[string]int
			}
			NextCursor string `json:"next_cursor"`
		}
		r := w.get("/v1/events?" + url.Values{"limit": {"30"}, "type": {"purchase"}, "cursor": {cursor}}.Encode())
		if cursor == "" {
			r = w.get("/v1/events?limit=30&type=purchase")
		}
		require.Equal(t, http.StatusOK, r.status, r.body)
		r.into(t, &page)
		for _, item := range page.Items {
			require.False(t, seen[item.ID], "%s is on two pages", item.ID)
			seen[item.ID] = true
			require.Equal(t, "web-shop", item.Source)
			require.InDelta(t, 19.99, item.Value, 0)
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	require.Len(t, seen, 100)
	for _, result := range got.Results {
		require.True(t, seen[result.ID], "the id that ingestion answered is the one that is stored")
	}
}

// settle waits until the consumer has nothing left to do.
func settle(t *testing.T, w *weir) {
	t.Helper()
	client := connect(t, w.box)
	var status struct{ Partitions []struct{ Stream string } }
	do(t, http.MethodGet, w.consumer+"/v1/status", "", "").into(t, &status)
	require.NotEmpty(t, status.Partitions)
	// Redis is asked, and not the consumer, who measures its backlog now and then.
	require.Eventually(t, func() bool {
		for _, p := range status.Partitions {
			groups, err := client.XInfoGroups(t.Context(), p.Stream).Result()
			if err != nil || len(groups) != 1 || groups[0].Pending != 0 || groups[0].Lag != 0 {
				return false
			}
		}
		return true
	}, patience, 20*time.Millisecond)
}

func TestGeneratedEventsArriveOnceInEveryPartition(t *testing.T) {
	t.Parallel()
	const rate, count, seed = 20_000, 5000, 7
	w := start(t, generate(rate, count, seed), func(a *api.Config, c *consumer.Config, i *ingestion.Config) {
		a.Stream.Partitions, c.Stream.Partitions, i.Stream.Partitions = 3, 3, 3
	})
	// Every item is stored, dead-lettered, or a duplicate of a stored one.
	want := expected(t, rate, count, seed)
	reach(t, w.pool, want.stored, `SELECT count(*) FROM events`)
	reach(t, w.pool, want.malformed, `SELECT count(*) FROM dead_letters`)
	rollupsEqualRaw(t, w.pool)
}

func TestLiveClientSeesEventsAsTheyArrive(t *testing.T) {
	t.Parallel()
	w := start(t)
	next := w.follow(live.Subscription{Metrics: true})
	require.IsType(t, live.Snapshot{}, next())
	require.Equal(t, http.StatusAccepted, w.post(`[{"type":"signup","user_id":"u1"},{"type":"signup","user_id":"u2"}]`).status)
	var signups int64
	for signups < 2 {
		var minutes []live.Minute
		switch m := next().(type) {
		case live.Snapshot:
			signups, minutes = 0, m.Minutes
		case live.Delta:
			minutes = m.Minutes
		}
		for _, minute := range minutes {
			if minute.Type == "signup" {
				signups += minute.Events
			}
		}
	}
	require.EqualValues(t, 2, signups)
}

// follow listens to the live feed until the test ends. It returns what waits for the next
// message.
func (w *weir) follow(wants live.Subscription) (next func() live.Message) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	messages, ended := make(chan live.Message), make(chan error, 1)
	go func() {
		ended <- live.New(w.api, live.Options{Want: wants}).Run(ctx, func(m live.Message) {
			select {
			case messages <- m:
			case <-ctx.Done():
			}
		})
	}()
	w.t.Cleanup(func() {
		cancel()
		require.NoError(w.t, <-ended)
	})
	return func() live.Message {
		w.t.Helper()
		select {
		case m := <-messages:
			return m
		case <-time.After(patience):
			require.FailNow(w.t, "the live feed tells nothing")
			return nil
		}
	}
}
