//go:build !race

package collector

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnEventCostsTwoAllocations: its payload and the text of its id. Whatever an
// entrance does more costs others nothing. The race detector allocates for itself.
func TestAnEventCostsTwoAllocations(t *testing.T) {
	payloads := make([]string, 1000)
	for i := range payloads {
		payloads[i] = fmt.Sprintf(`{"type":"page_view","time":"2026-03-01T11:59:00Z","user_id":"u%d","path":"/products/%d","properties":{"a":1}}`, i, i)
	}
	allocations := testing.AllocsPerRun(10, func() {
		take(&Events{Payloads: payloads}, "web", 1, now)
	})
	require.LessOrEqual(t, allocations, float64(2*len(payloads)+20))
}
