package consumer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/control"
	"weir/services/consumer/internal/deadletter"
	"weir/services/consumer/internal/fixture"
)

// call asks the control API and reads the answer into v, when that is not nil.
func (r *running) call(t *testing.T, method, path string, status int, v any) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.url+path, nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, status, answer.StatusCode, "%s", body)
	if status >= 400 {
		require.Equal(t, "application/problem+json", answer.Header.Get("Content-Type"))
	}
	if v != nil {
		require.NoError(t, json.Unmarshal(body, v), "%s", body)
	}
	return string(body)
}

func TestAPausedConsumerReadsNothingUntilItIsResumed(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	pool, client := fixture.Pool(t, box), fixture.Redis(t, box)
	r := start(t, box, nil)
	fixture.Add(t, client, box.StreamName, fixture.Series(0, 100)...)
	settled(t, box, 100)

	var s control.Status
	for range 2 {
		r.call(t, http.MethodPost, "/v1/pause", http.StatusOK, &s)
		require.Equal(t, "paused", s.State)
	}
	fixture.Add(t, client, box.StreamName, fixture.Series(100, 1000)...)
	// The read that was under way may bring one chunk yet.
	eventually(t, "the backlog is measured and nothing is pending", func() bool {
		s = r.status(t)
		return s.Partitions[0].Events >= 800 && s.Partitions[0].Pending == 0
	})
	require.LessOrEqual(t, fixture.Number(t, pool, `SELECT count(*) FROM events`), int64(200))
	require.Positive(t, s.Partitions[0].AgeSeconds)

	r.call(t, http.MethodPost, "/v1/resume", http.StatusOK, &s)
	require.Equal(t, "running", s.State)
	settled(t, box, 1000)
	s = r.status(t)
	require.Equal(t, "closed", s.Breaker)
	require.NotNil(t, s.LastFlush)
	require.Positive(t, s.LastBatch)
	require.Positive(t, s.FlushSeconds)
	eventually(t, "the rate counts whole seconds", func() bool { return r.status(t).Rate > 0 })
	eventually(t, "the backlog is gone", func() bool { return r.status(t).Partitions[0].Events == 0 })
}

// dead waits until there are n dead letters and the stream is done with.
func dead(t *testing.T, r *running, n int) {
	t.Helper()
	var o control.Outcome
	var left int64
	holds := func() bool {
		r.call(t, http.MethodPost, "/v1/dead-letters/replay?dry_run=true", http.StatusOK, &o)
		left = r.status(t).Partitions[0].Events
		return o.Matching == int64(n) && left == 0
	}
	// Not by Eventually: it cannot say what it saw last, and its goroutine may not end a test.
	for deadline := time.Now().Add(fixture.Patience); !holds(); time.Sleep(10 * time.Millisecond) {
		require.False(t, time.Now().After(deadline), "%d dead letters and %d events in the stream instead of %d and none; the log: %s",
			o.Matching, left, n, strings.Join(r.log.all(), "\n"))
	}
}

func TestDeadLettersAreListedByFilterAndPageAndShownAsTheyCame(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	client := fixture.Redis(t, box)
	r := start(t, box, nil)
	payloads := []string{"{", "\xff\xfe", `{"id":"x"}`, "[]", `{"id":"é"}`}
	ids := fixture.Add(t, client, box.StreamName, payloads...)
	dead(t, r, len(payloads))

	// Pages: newest letter first, each once. The stream's order is not promised: two batches are
	// written at the same time.
	var seen []string
	last := int64(math.MaxInt64)
	path := "/v1/dead-letters?limit=2"
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		var page control.LetterPage
		r.call(t, http.MethodGet, path+cursor, http.StatusOK, &page)
		for _, l := range page.Items {
			require.Less(t, l.ID, last)
			last = l.ID
			seen = append(seen, l.StreamID)
		}
		cursor = ""
		if page.NextCursor != "" {
			cursor = "&cursor=" + page.NextCursor
		}
		require.Less(t, pages, 3)
	}
	require.ElementsMatch(t, ids, seen)

	// Filters.
	for query, want := range map[string]int{
		"": 5, "stage=decode": 3, "stage=validate": 2, "stage=store": 0, "reason=MUST+BE+A+UUID": 2, "reason=25": 0,
		"stream=" + box.StreamName: 5, "stream=other": 0, "from=2020-01-01T00:00:00Z": 5, "to=2020-01-01T00:00:00Z": 0,
		"stage=decode&reason=JSON": 3,
	} {
		var page control.LetterPage
		r.call(t, http.MethodGet, "/v1/dead-letters?"+query, http.StatusOK, &page)
		require.Len(t, page.Items, want, query)
	}

	// One.
	var page control.LetterPage
	r.call(t, http.MethodGet, "/v1/dead-letters", http.StatusOK, &page)
	for _, item := range page.Items {
		var whole control.WholeLetter
		r.call(t, http.MethodGet, fmt.Sprintf("/v1/dead-letters/%d", item.ID), http.StatusOK, &whole)
		require.Equal(t, item, whole.Letter)
		payload := whole.Payload
		if whole.Encoding == "base64" {
			raw, err := base64.StdEncoding.DecodeString(payload)
			require.NoError(t, err)
			payload = string(raw)
		}
		require.Contains(t, payloads, payload)
		require.Equal(t, payload == "\xff\xfe", whole.Encoding == "base64")
		require.EqualValues(t, len(payload), whole.Bytes)
		require.NotEmpty(t, whole.Reason)
	}
}

func TestErrorsNameTheParameter(t *testing.T) {
	t.Parallel()
	r := start(t, fixture.Box(t), nil)
	for _, c := range []struct {
		method, path string
		status       int
		names        string
	}{
		{http.MethodGet, "/v1/dead-letters?stage=other", 422, "query.stage"},
		{http.MethodGet, "/v1/dead-letters?from=yesterday", 422, "query.from"},
		{http.MethodGet, "/v1/dead-letters?from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", 422, "query.to"},
		{http.MethodGet, "/v1/dead-letters?cursor=17", 422, "query.cursor"},
		{http.MethodGet, "/v1/dead-letters?limit=0", 422, "query.limit"},
		{http.MethodGet, "/v1/dead-letters?what=1", 422, "query.what"},
		{http.MethodGet, "/v1/dead-letters/x", 422, "path.id"},
		{http.MethodGet, "/v1/dead-letters/4711", 404, "path.id"},
		{http.MethodPost, "/v1/dead-letters/discard", 422, "query.all"},
		{http.MethodPost, "/v1/dead-letters/replay", 422, "query.all"},
		{http.MethodPost, "/v1/dead-letters/replay?dry_run=perhaps", 422, "query.dry_run"},
		{http.MethodPost, "/v1/dead-letters/replay?limit=1000000&all=true", 422, "query.limit"},
	} {
		var problem struct {
			Errors []struct{ Location string }
		}
		body := r.call(t, c.method, c.path, c.status, &problem)
		require.NotEmpty(t, problem.Errors, "%s %s", c.path, body)
		require.Equal(t, c.names, problem.Errors[0].Location, c.path)
	}
}

func TestReplayedEventsAreStoredOnceHoweverOftenTheyAreSent(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	pool, client := fixture.Pool(t, box), fixture.Redis(t, box)
	fixture.Exec(t, pool, `ALTER TABLE events ADD CONSTRAINT release CHECK (path <> '/p/3')`) // 5% of the events
	// On a slow disk no entry may be taken over from the very writer that is at it: what
	// comes again after its letter was replayed is refused again, and a letter too many.
	r := start(t, box, func(c *Config) {
		c.Pipeline.FlushTimeout, c.Pipeline.ClaimIdle = fixture.Patience/2, 2*fixture.Patience
	})
	payloads := fixture.Series(0, 200)
	fixture.Add(t, client, box.StreamName, payloads...)
	fixture.Add(t, client, box.StreamName, "{", `{"id":"x"}`)
	dead(t, r, 12)

	var o control.Outcome
	replay := "/v1/dead-letters/replay?stage=store&reason=release"
	r.call(t, http.MethodPost, replay+"&dry_run=true", http.StatusOK, &o)
	require.Equal(t, control.Outcome{Matching: 10, DryRun: true}, o)
	require.EqualValues(t, 12, fixture.Number(t, pool, `SELECT count(*) FROM dead_letters`))

	// In vain: they come back as new ones, and the call ends all the same.
	r.call(t, http.MethodPost, replay, http.StatusOK, &o)
	require.Equal(t, control.Outcome{Matching: 10, Done: 10}, o)
	dead(t, r, 12)

	// The fault is mended. A crash between publishing and removing leaves them on the
	// stream and in the table.
	fixture.Exec(t, pool, `ALTER TABLE events DROP CONSTRAINT release`)
	fixture.Add(t, client, box.StreamName, payloads[3], payloads[23])
	r.call(t, http.MethodPost, replay+"&limit=7", http.StatusOK, &o)
	require.Equal(t, control.Outcome{Matching: 10, Done: 7}, o)
	r.call(t, http.MethodPost, replay, http.StatusOK, &o)
	require.Equal(t, control.Outcome{Matching: 3, Done: 3}, o)
	eventually(t, "all is stored", func() bool { return fixture.Number(t, pool, `SELECT count(*) FROM events`) >= 200 })
	dead(t, r, 2)
	require.EqualValues(t, 200, fixture.Number(t, pool, `SELECT count(*) FROM events`))
	fixture.RollupsEqualRaw(t, pool)

	r.call(t, http.MethodPost, "/v1/dead-letters/discard?stage=decode", http.StatusOK, &o)
	require.Equal(t, control.Outcome{Matching: 1, Done: 1}, o)
	r.call(t, http.MethodPost, "/v1/dead-letters/discard?all=true", http.StatusOK, &o)
	dead(t, r, 0)
}

func TestALetterIsRemovedOnlyOnceRedisHasTheEvent(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	pool := fixture.Pool(t, box)
	fixture.Exec(t, pool, `INSERT INTO dead_letters (stream, stream_id, payload, stage, reason, attempts, arrived_at)
		SELECT $1, n || '-0', convert_to('payload ' || n, 'UTF8'), 'store', 'r', 1, now() FROM generate_series(1, 450) n`, box.StreamName)
	gone := fixture.Redis(t, box)
	gone.Close()
	letters := deadletter.Letters{Pool: pool, Client: gone, Streams: []string{box.StreamName}}
	_, err := letters.Replay(t.Context(), deadletter.Filter{}, 1000)
	require.ErrorIs(t, err, redis.ErrClosed)
	require.EqualValues(t, 450, fixture.Number(t, pool, `SELECT count(*) FROM dead_letters`))

	letters.Client = fixture.Redis(t, box)
	done, err := letters.Replay(t.Context(), deadletter.Filter{}, 1000)
	require.NoError(t, err)
	require.EqualValues(t, 450, done)
	require.Zero(t, fixture.Number(t, pool, `SELECT count(*) FROM dead_letters`))
	entries, err := letters.Client.XRange(t.Context(), box.StreamName, "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, entries, 450)
	for i, e := range entries {
		require.Equal(t, map[string]any{"event": fmt.Sprint("payload ", i+1)}, e.Values)
	}
}
