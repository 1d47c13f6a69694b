package ingestion

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
	"weir/services/shared/config"
	"weir/services/shared/event"
)

// command runs generate as main does, without a terminal.
func command(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, said bytes.Buffer
	err = generate(t.Context(), Config{}, args, &out, &said, false)
	return out.String(), said.String(), err
}

func TestGenerateWritesTheSameEventsForTheSameSeedAndKnowsWhatMustBeStored(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "oracle.json")
	args := []string{"--to", "ndjson", "--profile", "mobile-app", "--count", "5000", "--seed", "7", "--start", "2026-01-02T15:04:05Z"}
	first, said, err := command(t, append(args, "--oracle", file)...)
	require.NoError(t, err)
	second, _, err := command(t, args...)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.Contains(t, said, "seed 7")

	// What a consumer would make of it.
	lines := strings.Split(strings.TrimSpace(first), "\n")
	require.Len(t, lines, 5000)
	stored, malformed := map[string]bool{}, int64(0)
	now := time.Date(2026, 1, 2, 16, 0, 0, 0, time.UTC)
	for _, line := range lines {
		var e event.Event
		if e.Validate(now, e.Parse(line)) != nil {
			malformed++
			continue
		}
		stored[e.ID.String()+e.Time.String()] = true
	}
	var totals loadgen.Totals
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &totals))
	require.EqualValues(t, len(stored), totals.Stored)
	require.Equal(t, malformed, totals.Items.Malformed)
	require.EqualValues(t, 7, totals.Seed)
	var counted int64
	for _, row := range totals.Tallies {
		if row.Dimension == "" {
			counted += row.Count
		}
	}
	require.Equal(t, totals.Stored, counted)
	require.Contains(t, said, fmt.Sprintf("%d to be stored", totals.Stored))
}

func TestGenerateEndsNowWhenItIsNotPaced(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--duration", "1h", "--rate", "2"}, {"--count", "7200", "--rate", "2"}, {"--count", "5000", "--profile", "launch-day"},
	} {
		out, _, err := command(t, append(args, "--to", "ndjson")...)
		require.NoError(t, err)
		var latest time.Time
		for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
			var e event.Event
			if e.Parse(line) == nil && e.Time.After(latest) {
				latest = e.Time
			}
		}
		require.WithinDuration(t, time.Now(), latest, 5*time.Minute, "%v", args)
	}
}

// slowCollector is a collector that has no time at first.
type slowCollector struct {
	mu       sync.Mutex
	answers  []int // before it accepts
	lines    map[string]int
	requests int
	key      string
}

func (c *slowCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	c.key = r.Header.Get("X-Write-Key")
	if r.URL.Path != "/v1/events" || r.Header.Get("Content-Type") != "application/x-ndjson" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	if len(c.answers) > 0 {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(c.answers[0])
		fmt.Fprint(w, `{"detail":"no, because"}`)
		c.answers = c.answers[1:]
		return
	}
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	for _, line := range lines {
		c.lines[line]++
	}
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"accepted":%d,"rejected":1,"results":[]}`, len(lines)-1)
}

func TestGenerateWaitsWhenTheCollectorSaysSo(t *testing.T) {
	t.Parallel()
	c := &slowCollector{answers: []int{503, 429, 503}, lines: map[string]int{}}
	server := httptest.NewServer(c)
	defer server.Close()
	_, said, err := command(t, "--to", "http", "--fast", "--url", server.URL, "--key", "k", "--count", "1000", "--seed", "1", "--batch", "100")
	require.NoError(t, err)
	require.Equal(t, 13, c.requests)
	require.Equal(t, "k", c.key)
	total := 0
	for _, n := range c.lines {
		total += n
	}
	require.Equal(t, 1000, total)
	require.Contains(t, said, "answers 990 accepted, 10 rejected; told to wait 3 times")
}

func TestGenerateSaysWhyACollectorRefuses(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&slowCollector{answers: []int{401, 401, 401, 401, 401, 401}})
	defer server.Close()
	_, _, err := command(t, "--to", "http", "--fast", "--url", server.URL, "--count", "1000")
	require.ErrorContains(t, err, "401 Unauthorized: no, because")
	require.False(t, config.IsFaults(err))
}

func TestGenerateInterruptedSaysWhatWasNotSent(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 4 {
			cancel()
		}
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	var said bytes.Buffer
	err := generate(ctx, Config{}, []string{"--to", "http", "--fast", "--url", server.URL, "--count", "4000", "--batch", "1000"}, io.Discard, &said, true)
	require.ErrorIs(t, err, ErrUnsent)
	require.ErrorContains(t, err, "4000 events")
	require.Contains(t, said.String(), "oracle")
}

func TestGeneratePacesEventsAndTellsHowLateTheyAre(t *testing.T) {
	t.Parallel()
	began := time.Now()
	out, said, err := command(t, "--to", "ndjson", "--paced", "--rate", "1000", "--duration", "500ms")
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 400*time.Millisecond)
	require.InDelta(t, 500, strings.Count(out, "\n"), 120)
	require.Contains(t, said, "p99")
}

func TestGenerateNamesEveryWrongFlag(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says []string
	}{
		{nil, []string{"--to must be"}},
		{[]string{"--to", "stream", "--rate", "-5", "--count", "-1", "more"}, []string{"REDIS_URL is required", "--rate must", "--count must", `unexpected argument "more"`}},
		{[]string{"--to", "ndjson"}, []string{"--count or --duration is required"}},
		{[]string{"--to", "ndjson", "--profile", "zoo"}, []string{"--profile must be one of", "path"}},
		{[]string{"--to", "ndjson", "--fast", "--start", "yesterday", "--batch", "0"}, []string{"--fast is for", "--start must", "--batch must"}},
		{[]string{"--to", "http", "--paced", "--start", "2026-01-02T15:04:05Z", "--connections", "0"}, []string{"--paced is for", "--start is for", "--connections must"}},
		{[]string{"--to", "http", "--url", "localhost"}, []string{"--url must look like"}},
		{[]string{"--what"}, []string{"-what"}},
		{[]string{"--to", "ndjson", "--count", "1", "--start", "1999-01-01T00:00:00Z"}, []string{"older than"}},
	} {
		_, _, err := command(t, c.args...)
		require.True(t, config.IsFaults(err), "%v: %v", c.args, err)
		for _, want := range c.says {
			require.ErrorContains(t, err, want)
		}
	}
	out, _, err := command(t, "--help")
	require.NoError(t, err)
	require.Contains(t, out, "-profile")
}
