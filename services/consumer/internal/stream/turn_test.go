package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/stream"
)

// pair runs two readers that have met: at least one came too late.
func pair(t *testing.T, g stream.Group) (chunks <-chan stream.Chunk) {
	t.Helper()
	met := make(chan struct{}, 1)
	var readers []<-chan stream.Chunk
	for _, name := range []string{"a", "b"} {
		readers = append(readers, read(t, g, name, func(r *stream.Reader) {
			r.Count, r.InVain = 5, func(int) {
				select {
				case met <- struct{}{}:
				default:
				}
			}
		}))
	}
	chunks = merge(t, readers...)
	ctx, cancel := context.WithTimeout(t.Context(), fixture.Patience)
	defer cancel()
	for i := 0; ; i++ {
		fixture.Add(t, g.Client, g.Key, fixture.Series(20*i, 20*i+20)...)
		nextN(t, chunks, 20)
		select {
		case <-met:
			return chunks
		case <-ctx.Done():
			t.Fatal("they never read the same")
		default:
		}
	}
}

func TestATurnThatIsLostIsNotWaitedForForLong(t *testing.T) {
	t.Parallel()
	g := open(t)
	chunks := pair(t, g)
	turns := g.Key + ":turn:" + g.Name
	for i := 100_000; i < 100_010; i++ {
		// As one that dies with its turn does.
		lost, err := g.Client.LPop(t.Context(), turns).Result()
		if err != nil {
			require.ErrorContains(t, err, "redis: nil") // a reader has it
		} else {
			require.Regexp(t, `^\d+-\d+ [ab]$`, lost)
		}
		since := time.Now()
		ids := fixture.Add(t, g.Client, g.Key, fixture.Series(i, i+1)...)
		require.Equal(t, ids, nextN(t, chunks, 1))
		require.Less(t, time.Since(since), 10*time.Second)
	}
}

func TestATurnOfAnotherPositionDoesNoHarm(t *testing.T) {
	t.Parallel()
	g := open(t)
	chunks := pair(t, g)
	for i := 100_000; i < 100_010; i++ { // too far, too early, and none at all
		for _, turn := range []string{"99999999999999-0 c", "0-0 c", "- c"} {
			require.NoError(t, g.Client.RPush(t.Context(), g.Key+":turn:"+g.Name, turn).Err())
		}
		ids := fixture.Add(t, g.Client, g.Key, fixture.Series(i, i+1)...)
		require.Equal(t, ids, nextN(t, chunks, 1))
	}
}
