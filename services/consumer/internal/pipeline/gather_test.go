package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/stream"
)

// filling returns a pipeline that only gathers, whose last transaction took long.
func filling(most int) *Pipeline {
	p := &Pipeline{
		Config: Config{BatchBytes: 1 << 30, BatchWait: 150 * time.Millisecond},
		chunks: make(chan stream.Chunk, 1000), size: newSize(1, most, time.Second),
	}
	p.lastTook.Store(int64(time.Second))
	p.lastBatch.Store(few)
	return p
}

func (p *Pipeline) gathers(t *testing.T) (events int, took time.Duration) {
	t.Helper()
	b, start := batch.New(), time.Now()
	require.True(t, p.gather(t.Context(), b))
	return b.Entries(), time.Since(start)
}

func TestTheLastBatchOfABurstDoesNotWaitToTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := filling(1_000_000)
		come := func(chunks int) { // one each 10 ms
			for i := range chunks {
				time.AfterFunc(time.Duration(i)*10*time.Millisecond, func() { p.chunks <- stream.Chunk{Entries: make([]stream.Entry, 100)} })
			}
		}
		come(10)
		events, took := p.gathers(t)
		require.Equal(t, 1000, events)
		require.Equal(t, 140*time.Millisecond, took, "a third of the longest wait after the last chunk")
		come(15)
		_, took = p.gathers(t)
		require.Equal(t, 150*time.Millisecond, took, "nor is the longest wait longer while they come")
	})
}

func TestBatchesGrowFromAPauseOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := filling(20_000)
		backlog := func() (sizes []int) {
			for range 100 {
				p.chunks <- stream.Chunk{Entries: make([]stream.Entry, 1000)}
			}
			for range 5 {
				events, _ := p.gathers(t)
				sizes = append(sizes, events)
			}
			return sizes
		}
		require.Equal(t, []int{4_000, 8_000, 16_000, 20_000, 20_000}, backlog())
		require.Equal(t, 20_000, backlog()[0], "there was none")
		for len(p.chunks) > 0 {
			p.gathers(t)
		}
		time.AfterFunc(time.Second, func() { p.chunks <- stream.Chunk{Entries: make([]stream.Entry, 1000)} })
		p.gathers(t)
		require.Equal(t, []int{8_000, 16_000, 20_000, 20_000, 20_000}, backlog())
	})
}
