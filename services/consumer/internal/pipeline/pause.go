package pipeline

import (
	"context"
	"sync"

	"github.com/sony/gobreaker/v2"
)

// Pause stops reading until Resume. What was read is still written; the backlog
// stays in the stream, or goes to other consumers. It does not outlive the process.
func (p *Pipeline) Pause() { p.paused.Store(true) }

// Resume goes on reading, at once.
func (p *Pipeline) Resume() {
	p.paused.Store(false)
	p.opening.signal()
}

// gate holds the readers back while the consumer is paused, or the breaker is not
// closed: what they would read could not be written.
func (p *Pipeline) gate(ctx context.Context) error {
	for {
		opened := p.opening.next()
		if !p.paused.Load() && p.breaker.State() == gobreaker.StateClosed {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-opened:
		}
	}
}

// signal wakes all who wait for the next one. The zero value is ready to use.
type signal struct {
	mu sync.Mutex
	c  chan struct{}
}

// next returns what is closed at the next signal.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

func (s *signal) signal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}
