package gate

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Reason is why events are refused.
type Reason string

// The reasons. All but Busy last until the next measurement at least.
const (
	Backlog Reason = "backlog" // too many events wait for the consumer
	Age     Reason = "age"     // the oldest that waits is too old
	Memory  Reason = "memory"  // Redis has no room
	Away    Reason = "away"    // Redis does not answer
	Busy    Reason = "busy"    // too much is on its way to Redis
)

var reasons = []Reason{Backlog, Age, Memory, Away, Busy}

var sentences = map[Reason]string{
	Backlog: "More events wait to be stored than may",
	Age:     "The events that wait to be stored are too old",
	Memory:  "The stream has no room",
	Away:    "The stream is not available",
	Busy:    "Too many requests wait for the stream",
}

// Refused says that events were not let in, why, and when to try again.
type Refused struct {
	Reason Reason
	After  time.Duration // whole seconds, at least one; random in part, so that clients do not come back in step
}

func (r *Refused) Error() string { return sentences[r.Reason] }

// Bounds of the wait, before it is jittered.
const (
	minWait = time.Second
	maxWait = time.Minute
)

// jitter returns half to one and a half of d, in whole seconds, and one more.
func jitter(d time.Duration) time.Duration {
	return (time.Second + d/2 + rand.N(d)).Truncate(time.Second) // #nosec G404 -- no secret
}

// full reports whether err is Redis' refusal to use more memory.
func full(err error) bool { return redisSays(err, "OOM") }

// away reports whether err means that Redis cannot be written to for now: it did not
// answer, or it is starting, or a replica.
func away(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return true
	}
	return redisSays(err, "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MISCONF")
}

// redisSays reports whether err is an error reply with one of these codes.
func redisSays(err error, codes ...string) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	for _, code := range codes {
		if strings.HasPrefix(reply.Error(), code) {
			return true
		}
	}
	return false
}
