// Package quota bounds how many events a write key may send.
package quota

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"

	"weir/services/ingestion/internal/key"
)

// Quota is a bucket of events for every key, which fills up steadily.
type Quota struct {
	perSecond float64
	burst     int
	policy    string

	mu      sync.Mutex
	buckets map[key.ID]*rate.Limiter // of the keys that were used, and of all senders where there are none
}

// New returns a Quota: for each key perSecond events a second, and burst at once after
// a rest. With 0 events a second there is no limit.
func New(perSecond float64, burst int) *Quota {
	q := &Quota{perSecond: perSecond, burst: burst, buckets: map[key.ID]*rate.Limiter{}}
	if perSecond > 0 {
		q.policy = fmt.Sprintf(`"events";q=%d;w=%d`, burst, seconds(float64(burst)/perSecond))
	}
	return q
}

// Headers tell a client where it stands, as in draft-ietf-httpapi-ratelimit-headers-10:
// the policy's quota (q) and window in seconds (w), what remains of it (r) and in how
// many seconds it is whole again (t). The unit is events. Empty means no limit.
type Headers struct {
	RateLimit string `header:"RateLimit" doc:"What remains of the write key's quota of events, and in how many seconds it is whole again; absent without a limit" example:"\"events\";r=19900;t=1"`
	Policy    string `header:"RateLimit-Policy" doc:"The write key's quota of events, and in how many seconds it fills up; absent without a limit" example:"\"events\";q=20000;w=20"`
}

// Take takes n events from the bucket of a key, all or none. The error is a problem
// for the client: 429 that says when to come back, or 413 when that would not help.
func (q *Quota) Take(id key.ID, n int, now time.Time) (Headers, error) {
	if q.perSecond == 0 {
		return Headers{}, nil
	}
	if n > q.burst {
		return Headers{}, huma.NewError(http.StatusRequestEntityTooLarge, "The batch has more events than the write key may send at once: send at most "+strconv.Itoa(q.burst)+".")
	}
	bucket := q.bucket(id)
	allowed := bucket.AllowN(now, n)
	left := max(bucket.TokensAt(now), 0)
	h := Headers{
		RateLimit: fmt.Sprintf(`"events";r=%d;t=%d`, int(left), seconds((float64(q.burst)-left)/q.perSecond)),
		Policy:    q.policy,
	}
	if allowed {
		return h, nil
	}
	wait := max(seconds((float64(n)-left)/q.perSecond), 1)
	return h, huma.ErrorWithHeaders(
		huma.NewError(http.StatusTooManyRequests, fmt.Sprintf("The write key may send %v events a second. None of these was taken: send them again in %d s.", q.perSecond, wait)),
		http.Header{"Retry-After": {strconv.Itoa(wait)}, "Ratelimit": {h.RateLimit}, "Ratelimit-Policy": {h.Policy}})
}

func (q *Quota) bucket(id key.ID) *rate.Limiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	bucket, known := q.buckets[id]
	if !known {
		bucket = rate.NewLimiter(rate.Limit(q.perSecond), q.burst)
		q.buckets[id] = bucket
	}
	return bucket
}

func seconds(s float64) int { return int(math.Ceil(s)) }
