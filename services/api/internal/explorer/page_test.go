package explorer

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestASliceIsAsLongAsTheRestTakes: a slice too long reads rows for nothing, one too short
// is a statement more.
func TestASliceIsAsLongAsTheRestTakes(t *testing.T) {
	for _, c := range []struct {
		name          string
		reach, looked int64
		found, want   int64
	}{
		{"all passed and five are missing", 120, 120, 95, (5 + 4) * 120 / 95},
		{"one in ten passed", 240, 240, 24, (76 + 16) * 10},
		{"one in eighty passed", 240, 240, 3, 4 * 240},
		{"none passed", 240, 240, 0, 4 * 240},
		{"none passed, of as many as one statement may look through", maxReach / 2, maxReach / 2, 0, maxReach},
		{"none were there", 120, 0, 0, 4 * 120},
		{"some were there that were not expected", 120, 0, 1, 99 + 18},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := page{limit: 100, reach: c.reach, items: make([]Event, c.found)}
			p.aim(c.looked, c.found)
			require.Equal(t, c.want, p.reach)
		})
	}
}
