package blockrange

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestARoundThatHadNothingToDoIsSeldom, but not so seldom that the newest events are found slowly
// when traffic comes again; one that had something to do is not.
func TestARoundThatHadNothingToDoIsSeldom(t *testing.T) {
	for _, c := range []struct {
		ranges     int
		took, want time.Duration
	}{
		{0, 7 * time.Millisecond, time.Second},
		{0, 100 * time.Millisecond, 2 * time.Second},
		{0, time.Second, 10 * time.Second},
		{1, 100 * time.Millisecond, time.Second},
		{500, time.Second, 3 * time.Second},
	} {
		require.Equal(t, c.want, rest(c.ranges, c.took), "%d ranges in %s", c.ranges, c.took)
	}
}
