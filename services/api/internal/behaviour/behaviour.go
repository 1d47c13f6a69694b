// Package behaviour answers what users do one after the other, from the events
// themselves: sessions, funnels, retention and paths.
package behaviour

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/query"
)

// Register adds the operations /v1/sessions, /v1/funnel, /v1/retention and /v1/paths. They
// remember up to so many MiB of events.
func Register(api huma.API, r *query.Reader, memoryMiB int) {
	q := &questions{Reader: r, running: make(chan struct{}, maxRunning), memory: newMemory(uint64(memoryMiB) << 20)}
	registerSessions(api, q)
	registerFunnel(api, q)
	registerRetention(api, q)
	registerPaths(api, q)
}

const (
	// maxRunning bounds how many of these questions run at once, and so their memory:
	// each may hold up to maxSubjects states. More would only make all of them slower.
	maxRunning = 2

	// maxWait is how long a question waits for its turn.
	maxWait = 5 * time.Second

	// maxSubjects bounds the users, or sessions, that one answer is about. A session
	// takes 90 bytes, one of paths as much, a user of retention 42, who came to the end of a
	// funnel of three steps 310, and of one of ten steps 1,070 (BenchmarkState), and 140 more
	// for the medians: 2.4 GB at the very most.
	maxSubjects = 2_000_000
)

// turns is what the operations have in common, for their descriptions.
const turns = "An instance answers two questions at once of those about sessions, funnels, retention and paths; " +
	"one that has waited 5 seconds for its turn gets a 503 with Retry-After."

// questions is the reader of all four, with a bound on how many run, and their memory.
type questions struct {
	*query.Reader
	running chan struct{}
	memory  *memory
}

// turn waits until the question may run. done ends it.
func (q *questions) turn(ctx context.Context) (done func(), err error) {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case q.running <- struct{}{}:
		return func() { <-q.running }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(
			"Too many long questions are being answered just now; try again after the seconds in Retry-After."),
			http.Header{"Retry-After": {"5"}})
	}
}

// tooMuch is the answer when a range holds more than fits into memory.
func tooMuch(of string) error {
	return query.Invalid("from", "the range holds too many "+of+
		" for one answer: ask for a shorter range, or for fewer events with filter", nil)
}
