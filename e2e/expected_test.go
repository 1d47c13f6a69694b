package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
)

type expectation struct{ stored, malformed int64 }

// expected tells what a run of ingestion's generator must leave behind: which items
// are duplicates or malformed depends on the rate and the seed, not on the clock.
func expected(t *testing.T, rate float64, count, seed int64) expectation {
	t.Helper()
	profile, err := loadgen.Builtin("web-shop")
	require.NoError(t, err)
	profile.Shape = loadgen.Constant(rate)
	profile.Volume = loadgen.Volume{Count: count}
	g, err := loadgen.New(profile, uint64(seed), time.Now())
	require.NoError(t, err)
	oracle := g.Oracle()
	for {
		if _, more := g.Next(nil); !more {
			break
		}
	}
	return expectation{oracle.Counts().Stored(), oracle.Counts().Malformed}
}
