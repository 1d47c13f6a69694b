package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/loadgen"
	generator "weir/openapi/client/ingestion"
)

// TestOverloadIsRefusedPolitelyAndNothingAcceptedIsLost offers three times what the
// consumer can take, for WEIR_OVERLOAD (`make overload`: a minute). The consumer is
// made slow, so that the machine is not.
func TestOverloadIsRefusedPolitelyAndNothingAcceptedIsLost(t *testing.T) {
	t.Parallel()
	lasting := 8 * time.Second
	if given := os.Getenv("WEIR_OVERLOAD"); given != "" {
		var err error
		lasting, err = time.ParseDuration(given)
		require.NoError(t, err)
	}
	const high, low = 2000, 1000
	box := sandbox(t)
	pool := open(t, box)
	options, err := redis.ParseURL(box.RedisURL)
	require.NoError(t, err)
	client := redis.NewClient(options)
	defer client.Close()
	run(t, box, "weir-consumer", "CONSUMER_WRITERS=1", "BATCH_MAX_EVENTS=50", "CONSUMER_READ_SIZE=50", "TRIM_INTERVAL=200ms")
	ingestion := run(t, box, "weir-ingestion", "GENERATOR_OVERLOAD=offer",
		"BACKPRESSURE_HIGH_EVENTS="+strconv.Itoa(high), "BACKPRESSURE_LOW_EVENTS="+strconv.Itoa(low))
	change := func(body any) { control(t, ingestion.URL, "", body) }
	statistics := func() generator.Figures { return control(t, ingestion.URL, "", nil).Statistics }

	// What can it take? Fill the backlog, and look at how fast it is worked off.
	const drain = "weir_ingestion_drain_events_per_second"
	change(map[string]any{"rate": 20_000, "faults": loadgen.Faults{}})
	control(t, ingestion.URL, "start", nil)
	require.Eventually(t, func() bool { return statistics().Published > 4*high }, patience, 20*time.Millisecond)

	// Three times that, and clients with something to say meanwhile.
	began := statistics()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	people := newVisitors(t, ingestion.URL)
	for i := range 5 {
		people.Go(func() { people.visit(ctx, i) })
	}
	capacity, longest, memory := 0., int64(0), []int64(nil)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i, end := 0, time.Now().Add(lasting); time.Now().Before(end); i++ {
		if i%10 == 0 { // the machine has other things to do, now more, now less
			capacity = gauge(t, ingestion, drain)
			change(map[string]any{"rate": 3 * capacity})
		}
		<-tick.C
		n, err := client.XLen(t.Context(), box.StreamName).Result()
		require.NoError(t, err)
		longest = max(longest, n)
		memory = append(memory, resident(ingestion))
	}
	ended := statistics()
	offered, published := ended.Offered-began.Offered, ended.Published-began.Published
	accepted, refused := people.counts()
	t.Logf("capacity %.0f/s; offered %d in %v, published %d; clients: %d accepted, %d told to wait; longest stream %d; memory %d MiB",
		capacity, offered, lasting, published, accepted, refused, longest, memory[len(memory)-1]>>20)
	require.Greater(t, ended.Refused-began.Refused, offered/5)
	require.Positive(t, refused)
	if lasting >= time.Minute { // some 200 tries, of which about each fifth finds it open
		require.Positive(t, accepted, "clients that come back when they are told to get in")
	}
	require.Less(t, longest, int64(high+5000), "with what is acknowledged and not trimmed yet")
	require.Less(t, memory[len(memory)-1], memory[len(memory)/4]*3/2+16<<20, "bounded")

	// Back to normal by itself once there is less: so little that the consumer may stand
	// still for seconds, as on a machine with other work, before it is a backlog.
	change(map[string]any{"rate": high / 10})
	require.Eventually(t, func() bool { return gauge(t, ingestion, "weir_ingestion_gate_open") == 1 }, patience, 20*time.Millisecond)
	calm := statistics()
	require.Eventually(t, func() bool { return statistics().Published > calm.Published+high/5 }, patience, 20*time.Millisecond)
	calm = statistics() // what was refused before is counted by now
	before, _ := people.counts()
	require.Eventually(t, func() bool {
		now, _ := people.counts()
		return now >= before+20
	}, patience, 20*time.Millisecond)
	s := control(t, ingestion.URL, "stop", nil)
	require.Equal(t, calm.Refused, s.Statistics.Refused)
	cancel()
	people.Wait()

	// Every event that was accepted is there, once.
	require.Equal(t, s.Statistics.Offered, s.Statistics.Published+s.Statistics.Refused)
	reach(t, pool, s.Statistics.Published, `SELECT count(*) FROM events WHERE source = 'web-shop'`)
	drained(t, box)
	require.Equal(t, s.Statistics.Published, number(t, pool, `SELECT count(*) FROM events WHERE source = 'web-shop'`))
	stored := number(t, pool, `SELECT count(*) FROM events WHERE source = 'visitor'`)
	require.GreaterOrEqual(t, stored, people.accepted)
	require.LessOrEqual(t, stored, people.accepted+int64(people.unsure), "a request that was cancelled may have been published")
	require.Zero(t, number(t, pool, `SELECT count(*) FROM dead_letters`))
	rollupsEqualRaw(t, pool)
}

// visitors are clients that do as they are told: what is refused they send again, with
// the same id, after the time in Retry-After.
type visitors struct {
	sync.WaitGroup
	t   *testing.T
	url string

	mu                sync.Mutex
	accepted, refused int64
	unsure            int
}

func newVisitors(t *testing.T, url string) *visitors { return &visitors{t: t, url: url} }

func (v *visitors) counts() (accepted, refused int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.accepted, v.refused
}

func (v *visitors) visit(ctx context.Context, who int) {
	at := time.Now().UTC().Format(time.RFC3339Nano)
	for i := 0; ctx.Err() == nil; {
		body := fmt.Sprintf(`{"id":"%d-%d","time":%q,"type":"click","user_id":"u%d","source":"visitor"}`, who, i, at, who)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url+"/v1/events", strings.NewReader(body))
		if err != nil {
			v.t.Error(err)
			return
		}
		request.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			v.mu.Lock()
			v.unsure++
			v.mu.Unlock()
			continue // cancelled
		}
		answer.Body.Close()
		wait := 20 * time.Millisecond
		v.mu.Lock()
		switch answer.StatusCode {
		case http.StatusAccepted:
			v.accepted++
			i++
		case http.StatusServiceUnavailable:
			v.refused++
			seconds, err := strconv.Atoi(answer.Header.Get("Retry-After"))
			if err != nil || seconds < 1 || seconds > 91 {
				v.t.Errorf("Retry-After: %q", answer.Header.Get("Retry-After"))
			}
			wait = time.Duration(seconds) * time.Second
		default:
			v.t.Error(answer.Status)
		}
		v.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// gauge reads one of a service's metrics.
func gauge(t *testing.T, p *harness.Program, name string) (value float64) {
	t.Helper()
	for line := range strings.Lines(do(t, http.MethodGet, p.URL+"/metrics", "", "").body) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			require.NoError(t, err)
			return value
		}
	}
	t.Fatal("no metric ", name)
	return 0
}

// resident is the memory that a process has, 0 where there is no /proc.
func resident(p *harness.Program) (bytes int64) {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/status")
	if _, rest, found := strings.Cut(string(status), "VmRSS:"); found {
		_, _ = fmt.Sscan(rest, &bytes)
	}
	return bytes << 10
}
