package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/stream"
)

func TestUpkeepGivesWayWhileBatchesAreFullButNotForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Pipeline{
			Config: Config{BatchBytes: 1 << 20, BatchWait: time.Second}, chunks: make(chan stream.Chunk, 1), size: newSize(1, 3, time.Second),
		}
		gather := func(entries int) {
			p.chunks <- stream.Chunk{Entries: make([]stream.Entry, entries)}
			require.True(t, p.gather(t.Context(), batch.New()))
		}
		waited := func(ctx context.Context) time.Duration {
			start := time.Now()
			p.GiveWay(ctx)
			return time.Since(start)
		}
		require.Zero(t, waited(t.Context()), "before the first batch")
		gather(2)
		require.Zero(t, waited(t.Context()), "after a batch with room left")
		gather(3)
		require.Equal(t, patience, waited(t.Context()), "after a full one, while all writers are busy")
		time.AfterFunc(3*time.Second, func() { gather(3) })
		time.AfterFunc(5*time.Second, func() { gather(1) })
		require.InDelta(t, 5, waited(t.Context()).Seconds(), 0.1, "until one has room left")
		gather(3)
		none, stop := context.WithCancel(t.Context())
		go p.gather(none, batch.New())
		require.InDelta(t, idleAfter.Seconds(), waited(t.Context()).Seconds(), 0.06, "until a writer has nothing to do")
		stop()
		synctest.Wait()
		gather(3)
		ended, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Equal(t, time.Second, waited(ended), "until ctx ends")
	})
}
