package e2e

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/consumer"
)

// chaosFor is for how long the random faults go on, such as 10m: the long run, which
// `make chaos` starts.
const chaosFor = "WEIR_CHAOS"

// chaos is a system under faults drawn at random: three consumers behind networks of
// their own, on servers of their own, while a producer publishes without pause.
type chaos struct {
	t       *testing.T
	random  *rand.Rand
	servers *harness.Servers
	box     *harness.Sandbox
	tr      *traffic

	redis, postgres *network
	settings        []string
	consumers       []*harness.Program
	happened        map[string]int
}

// TestRandomFaultsLoseAndDoubleNothing draws faults at random, with a seed that repeats
// them, and asserts the invariants at the end, and now and then in a long run.
func TestRandomFaultsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	duration := 15 * time.Second
	if given := os.Getenv(chaosFor); given != "" {
		var err error
		duration, err = time.ParseDuration(given)
		require.NoError(t, err, chaosFor)
	}
	s := harness.Seed(t)
	c := &chaos{t: t, random: rand.New(rand.NewPCG(s, 3)), happened: map[string]int{}}
	c.servers, c.box = private(t)
	c.tr = newTraffic(t, c.box, s, untidy)
	var proxies []string
	c.redis, c.postgres, proxies = proxied(t, c.box)
	c.settings = slices.Concat(proxies, hasty)
	require.NoError(t, c.servers.Durable(t.Context()))
	for i := range 3 {
		c.consumers = append(c.consumers, c.boot(i, ""))
	}

	// The faults come one after the other, each into the consequences of those before.
	published, seen := 0, 0
	for start := time.Now(); time.Since(start) < duration; {
		// One part of the run, at the end of which everything must be in order.
		ctx, cancel := context.WithCancel(t.Context())
		var producer sync.WaitGroup
		producer.Go(func() {
			for ctx.Err() == nil {
				c.tr.publish(t, 200)
				published += 200
				time.Sleep(50 * time.Millisecond) // a rate, not a wait
			}
		})
		for part := time.Now(); time.Since(part) < time.Minute && time.Since(start) < duration; {
			c.strike()
		}
		cancel()
		producer.Wait()
		c.tr.check(t, c.box)
		seen = c.faults()
		t.Logf("after %v: %d faults, %d items published, %d events stored: 0 lost, 0 doubled",
			time.Since(start).Round(time.Second), seen, published, c.tr.oracle.Counts().Stored())
	}
	for _, p := range c.consumers {
		stop(t, p) // as sound as ever
	}
	c.tr.check(t, c.box)
	for _, name := range slices.Sorted(maps.Keys(c.happened)) {
		t.Logf("%4d %s", c.happened[name], name)
	}
	require.Positive(t, seen)
}

func (c *chaos) faults() (n int) {
	for _, times := range c.happened {
		n += times
	}
	return n
}

// strike has one fault happen, and pass.
func (c *chaos) strike() {
	c.t.Helper()
	faults := append(c.servers.Faults(c.random, c.box), []harness.Fault{
		{Name: "consumer killed", Weight: 4, Happens: c.kill},
		{Name: "consumer killed at a step", Weight: 4, Happens: c.killAtStep},
		{Name: "consumer frozen for a while", Weight: 4, Happens: c.freeze},
		{Name: "consumer stopped cleanly", Weight: 2, Happens: c.restart},
		{Name: "PostgreSQL read-only for a while", Weight: 1, Happens: c.readOnly},
		{Name: "network cut", Weight: 3, Happens: func(context.Context) error { return c.network().cut(c.while(time.Second / 2)) }},
		{Name: "network resets connections", Weight: 2, Happens: c.suffer(resets)},
		{Name: "network slow", Weight: 2, Happens: c.suffer(slow)},
		{Name: "network half-open", Weight: 2, Happens: c.suffer(halfOpen)},
		{Name: "network does not answer", Weight: 2, Happens: c.suffer(unanswered)},
		{Name: "network does not hear", Weight: 1, Happens: c.suffer(unheard)},
		{Name: "network half-open here and there", Weight: 2, Happens: c.suffer(halfBroken)},
	}...)
	fault, start := harness.Draw(c.random, faults), time.Now()
	require.NoError(c.t, fault.Happens(c.t.Context()), fault.Name)
	c.t.Logf("%s %s, %v", start.Format(time.TimeOnly), fault.Name, time.Since(start).Round(time.Millisecond))
	c.happened[fault.Name]++
	time.Sleep(c.while(200 * time.Millisecond)) // until the next
}

func (c *chaos) while(mean time.Duration) time.Duration { return harness.While(c.random, mean) }

// boot starts consumer i, to be killed at a step when there is one.
func (c *chaos) boot(i int, where consumer.Step) *harness.Program {
	settings := slices.Concat(c.settings, []string{"CONSUMER_NAME=chaos-" + strconv.Itoa(i), "BATCH_MAX_EVENTS=" + strconv.Itoa(50+c.random.IntN(1500))})
	if where == "" {
		return run(c.t, c.box, "weir-consumer", settings...)
	}
	return runFaulty(c.t, c.box, killed, where, settings...).Program
}

func (c *chaos) kill(context.Context) error {
	i := c.random.IntN(len(c.consumers))
	c.consumers[i].Kill()
	time.Sleep(c.while(300 * time.Millisecond))
	c.consumers[i] = c.boot(i, "")
	return nil
}

// killAtStep replaces a consumer by one that is killed at a step, and that in turn.
func (c *chaos) killAtStep(context.Context) error {
	first, redelivered := consumer.Steps()
	steps := append(first, redelivered...)
	i := c.random.IntN(len(c.consumers))
	c.consumers[i].Kill()
	victim := c.boot(i, steps[c.random.IntN(len(steps))])
	select {
	case <-victim.Exited():
	case <-time.After(3 * time.Second): // its batches do not come to that step
		victim.Kill()
	}
	c.consumers[i] = c.boot(i, "")
	return nil
}

func (c *chaos) freeze(context.Context) error {
	p := c.consumers[c.random.IntN(len(c.consumers))]
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(c.while(time.Second))
	return p.Signal(syscall.SIGCONT)
}

func (c *chaos) restart(context.Context) error {
	i := c.random.IntN(len(c.consumers))
	stop(c.t, c.consumers[i])
	c.consumers[i] = c.boot(i, "")
	return nil
}

func (c *chaos) readOnly(context.Context) error {
	err := administer(c.t.Context(), c.box, `ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`)
	if err != nil {
		return err
	}
	time.Sleep(c.while(time.Second))
	return administer(c.t.Context(), c.box, `SET default_transaction_read_only = off`,
		`ALTER SYSTEM RESET default_transaction_read_only`, `SELECT pg_reload_conf()`)
}

func (c *chaos) network() *network {
	return []*network{c.redis, c.postgres}[c.random.IntN(2)]
}

func (c *chaos) suffer(ways []string) func(context.Context) error {
	return func(context.Context) error {
		n := c.network()
		if err := n.fail(ways); err != nil {
			return err
		}
		time.Sleep(c.while(flushTimeout / 2))
		return n.heal()
	}
}
