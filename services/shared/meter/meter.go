// Package meter tells the rate of something that is counted.
package meter

import (
	"sync"
	"time"
)

// window is over how many whole seconds a meter averages.
const window = 10

// Meter tells the rate of something over the last ten seconds. Its zero value is ready
// for use, by many at once.
type Meter struct {
	mu      sync.Mutex
	counts  [window + 1]int64 // by second, modulo
	seconds [window + 1]int64 // which second a count is of
}

// Add counts n of them.
func (m *Meter) Add(now time.Time, n int) {
	second := now.Unix()
	i := second % int64(len(m.counts))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seconds[i] != second {
		m.seconds[i], m.counts[i] = second, 0
	}
	m.counts[i] += int64(n)
}

// PerSecond is the mean of the whole seconds before now.
func (m *Meter) PerSecond(now time.Time) float64 {
	second, total := now.Unix(), int64(0)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, of := range m.seconds {
		if of < second && of >= second-window {
			total += m.counts[i]
		}
	}
	return float64(total) / window
}
