package fold

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRestsEndWithTheTurn: a backlog of users is folded without rests, and what is not one
// leaves the writers most of the time.
func TestRestsEndWithTheTurn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ worked, left, want time.Duration }{
		"in the turn":     {time.Second, time.Minute, 2 * time.Second},
		"at its end":      {time.Second, 1500 * time.Millisecond, 1500 * time.Millisecond},
		"after it":        {time.Second, -time.Millisecond, 0},
		"nothing to rest": {0, time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				rest(t.Context(), c.worked, start.Add(c.left))
				require.Equal(t, c.want, time.Since(start))
			})
		})
	}
	ended, end := context.WithCancel(t.Context())
	end()
	rest(ended, time.Hour, time.Now().Add(time.Hour))
}
