package harness

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// Seed is where a test's random numbers begin: another one each time, which the test logs,
// or the one that WEIR_SEED names, to draw the same again.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("WEIR_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED must be a whole number, as a test has logged it: %v", err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return seed
}
