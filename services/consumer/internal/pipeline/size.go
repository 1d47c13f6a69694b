package pipeline

import (
	"sync"
	"time"
)

// size is how many events a batch may have. It grows while there is a backlog, as a
// large batch costs less an event, and shrinks when transactions take too long, as a
// slow server serves small ones better: locks are held shorter, less is done again
// after a failure, and the flush stays far from its timeout.
type size struct {
	mu       sync.Mutex
	now      int
	min, max int
	target   time.Duration // longest that a transaction should take
}

func newSize(min, max int, target time.Duration) *size {
	return &size{now: max, min: min, max: max, target: target}
}

func (s *size) events() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// learn takes note of a transaction: its events, how long it took, and whether more
// were waiting.
func (s *size) learn(events int, took time.Duration, backlog bool) (now int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case took > s.target:
		// What would have taken as long as it should, but at most a halving: one slow
		// transaction may be a checkpoint's doing.
		fitting := int(float64(events) * float64(s.target) / float64(took))
		s.now = max(s.min, s.now/2, min(s.now, fitting))
	case backlog && events >= s.now:
		s.now = min(s.max, s.now+s.now/4+1)
	}
	return s.now
}
