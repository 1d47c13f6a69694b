package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
)

// Finding the bad must take less than FLUSH_TIMEOUT, or the batch is tried for ever.
func TestAHundredBadRowsOfTenThousandAreFoundInTime(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	fixture.Exec(t, pool, `ALTER TABLE events ADD CONSTRAINT no_bad CHECK (path <> '/bad')`)
	payloads := make([]string, 10_000)
	for i := range payloads {
		e := fixture.Event(i)
		if i%100 == 3 {
			e.Path = "/bad"
		}
		payloads[i] = fixture.Payload(e)
	}
	start := time.Now()
	r, err := s.Write(t.Context(), decoded(fixture.Chunk(key, 1, payloads...)))
	require.NoError(t, err)
	require.Equal(t, 100, r.Dead)
	require.Equal(t, 9900, r.Inserted)
	t.Logf("in %v", time.Since(start))
	fixture.RollupsEqualRaw(t, pool)
}
