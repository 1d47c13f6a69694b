package api_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/migrations"
	"weir/services/shared/build"
	"weir/services/shared/rollup"
)

func TestStatusTellsWhatWaitsAndWhatIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	minute := time.Now().Add(-2 * time.Minute).Truncate(time.Minute)
	w.store(pageView(minute), pageView(minute.Add(-time.Hour)), pageView(minute.Add(23*time.Hour)))
	_, err := w.pool.Exec(t.Context(), `INSERT INTO dead_letters (stream, stream_id, payload, stage, reason, attempts, arrived_at)
		VALUES ('s', '1-0', '', 'decode', 'r', 1, now()), ('s', '2-0', '', 'validate', 'r', 1, now()), ('s', '3-0', '', 'validate', 'r', 1, now())`)
	require.NoError(t, err)
	ctx := t.Context()
	require.NoError(t, w.redis.XGroupCreateMkStream(ctx, w.box.StreamName, "weir", "0").Err())
	sent := time.Now()
	for range 3 {
		require.NoError(t, w.redis.XAdd(ctx, &redis.XAddArgs{Stream: w.box.StreamName, Values: []string{"event", "{}"}}).Err())
	}
	flushed := time.Now().Add(-time.Minute).UTC().Truncate(time.Millisecond)
	require.NoError(t, w.redis.Set(ctx, rollup.Flushed(rollup.Channel(w.box.StreamName)), flushed.UnixMilli(), 0).Err())
	w.start()
	got := w.status()
	require.Equal(t, flushed, got.Stored.LastFlush)
	require.Equal(t, build.Read().Version, got.Version)
	require.Empty(t, got.Stored.Error+got.Stream.Error)
	require.True(t, got.Stream.Group)
	require.EqualValues(t, 3, got.Stream.Events)
	require.Zero(t, got.Stream.Pending)
	require.Positive(t, got.Stream.AgeSeconds)
	require.WithinDuration(t, sent, got.Stream.StoredThrough, 5*time.Second) // two clocks
	require.Equal(t, w.box.StreamName, got.Stream.Partitions[0].Stream)
	require.EqualValues(t, 3, got.Stream.Partitions[0].Length)
	require.True(t, got.Stored.NewestMinute.Equal(minute), "not what a clock that is ahead sent")
	require.Equal(t, map[string]int64{"decode": 1, "validate": 2}, got.Stored.DeadLetters)
	require.False(t, got.Stored.DeadMore)
	require.Positive(t, got.Stored.Bytes["events"])
	require.Contains(t, []string{"apache", "community"}, got.Servers.Edition)
	require.NotEmpty(t, got.Servers.Timescaledb)
	require.NotEmpty(t, got.Servers.Postgresql)
	require.NotEmpty(t, got.Servers.Redis)
	require.Equal(t, migrations.Latest(), got.Servers.Schema)
	require.False(t, got.Servers.Replica)

	// Millions of dead letters are not counted each time.
	_, err = w.pool.Exec(ctx, `INSERT INTO dead_letters (stream, stream_id, payload, stage, reason, attempts, arrived_at)
		SELECT 's', n || '-1', '', 'decode', 'r', 1, now() FROM generate_series(1, 12000) AS n`)
	require.NoError(t, err)
	got = w.status()
	require.True(t, got.Stored.DeadMore)
	require.EqualValues(t, 10_001, got.Stored.DeadLetters["decode"]+got.Stored.DeadLetters["validate"])
}

func TestStatusTellsTheRateOfTheLastWholeMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	minute := func() (m time.Time) {
		require.NoError(t, w.pool.QueryRow(t.Context(), "SELECT date_trunc('minute', now())").Scan(&m))
		return m.UTC()
	}
	now := minute()
	stored := map[time.Time]int{now.Add(-2 * time.Minute): 30, now.Add(-time.Minute): 90, now: 150}
	for m, n := range stored {
		w.store(several(n-30, m.Add(30*time.Second))...)
		w.fold()
		w.store(several(30, m)...)
	}
	// A minute may end meanwhile: then the next is the one that is whole.
	asked, got := now, w.status()
	for now = minute(); now != asked; now = minute() {
		asked, got = now, w.status()
	}
	require.InDelta(t, float64(stored[asked.Add(-time.Minute)])/60, got.Stored.PerSecond, 1e-9)
}

// answeredStatus is what /v1/status says.
type answeredStatus struct {
	Version string
	Stream  struct {
		Error           string
		Group           bool
		Events, Pending int64
		AgeSeconds      float64   `json:"age_seconds"`
		StoredThrough   time.Time `json:"stored_through"`
		Partitions      []struct {
			Stream string
			Length int64
		}
	}
	Stored struct {
		NewestMinute time.Time `json:"newest_minute"`
		Error        string
		LastFlush    time.Time        `json:"last_flush"`
		PerSecond    float64          `json:"events_per_second"`
		DeadLetters  map[string]int64 `json:"dead_letters"`
		DeadMore     bool             `json:"dead_letters_more"`
		Bytes        map[string]int64
	}
	Servers struct {
		Edition, Timescaledb, Postgresql, Redis string
		Schema                                  int64
		Replica                                 bool
	}
}

func (w *world) status() (s answeredStatus) {
	w.t.Helper()
	w.ok("/v1/status", nil, &s)
	return s
}
