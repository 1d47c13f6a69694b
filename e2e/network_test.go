package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

// TestNetworksThatFailLoseAndDoubleNothing has two consumers work through a network
// that fails in every way there is, before Redis and before PostgreSQL.
func TestNetworksThatFailLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	const grace = 2 * time.Second
	for _, server := range []string{"Redis", "PostgreSQL"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			box := sandbox(t)
			tr := newTraffic(t, box, harness.Seed(t), untidy)
			n, postgres, settings := proxied(t, box)
			if server == "PostgreSQL" {
				n = postgres
			}
			settings = append(append(settings, hasty...), "BATCH_MAX_EVENTS=500", "SHUTDOWN_GRACE="+grace.String())
			a := run(t, box, "weir-consumer", append(settings, "CONSUMER_NAME=a")...)
			run(t, box, "weir-consumer", append(settings, "CONSUMER_NAME=b")...)

			suffer := func(ways []string, for_ time.Duration) func() error {
				return func() error {
					if err := n.fail(ways); err != nil {
						return err
					}
					tr.publish(t, 1000)
					time.Sleep(for_)
					return n.heal()
				}
			}
			const beyond = flushTimeout + 500*time.Millisecond
			for _, fault := range []struct {
				name    string
				happens func() error
			}{
				{"cut for a moment", func() error { return n.cut(0) }},
				{"cut", func() error { return n.cut(time.Second) }},
				{"reset", suffer(resets, time.Second)},
				{"slow", suffer(slow, time.Second)},
				{"sliced", suffer(sliced, time.Second)},
				{"half-open", suffer(halfOpen, beyond)},
				{"not heard", suffer(unheard, beyond)},
				{"not answered", suffer(unanswered, beyond)},
				{"some half-open", suffer(halfBroken, beyond)},
			} {
				tr.publish(t, 2000)
				require.NoError(t, fault.happens(), fault.name)
				tr.publish(t, 500)
			}
			over := time.Now()
			tr.check(t, box)
			t.Logf("done %v after it was over", time.Since(over).Round(time.Millisecond))

			// Not even a network that says nothing keeps a consumer from stopping. (One
			// before PostgreSQL does for 15 s longer, when all is done: pgx says goodbye.)
			if server == "PostgreSQL" {
				return
			}
			require.NoError(t, n.fail(halfOpen))
			tr.publish(t, 100)
			start := time.Now()
			stop(t, a)
			t.Logf("stopped within %v", time.Since(start).Round(time.Millisecond))
			require.Less(t, time.Since(start), grace+5*time.Second)
			require.NoError(t, n.heal())
			tr.check(t, box)
		})
	}
}
