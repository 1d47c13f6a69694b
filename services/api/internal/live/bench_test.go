package live

import (
	"fmt"
	"testing"
	"time"

	"weir/services/shared/rollup"
)

// BenchmarkMessage makes an update of one batch, and a snapshot of the whole window:
// each is made once, however many clients there are.
func BenchmarkMessage(b *testing.B) {
	for _, c := range []struct {
		kind    string
		minutes int32
	}{{"delta", 2}, {"snapshot", rollup.LiveMinutes}} {
		b.Run(c.kind, func(b *testing.B) {
			now, state := time.Now(), window{}
			for m := range c.minutes {
				for kind := range 12 {
					state.add(cell{minuteOf(now) - m, fmt.Sprintf("type_%d", kind)}, count{events: int64(1000 * kind)})
				}
			}
			l := &lane{epoch: "b3f0c9d25a417e68", seq: 17, state: state}
			size := 0
			b.ReportAllocs()
			for b.Loop() {
				m := l.message(c.kind, now)
				m.Minutes = state.sorted()
				size = len(m.pack().data)
			}
			b.SetBytes(int64(size))
		})
	}
}
