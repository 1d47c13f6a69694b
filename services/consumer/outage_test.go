package consumer

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/migrations"
	"weir/services/consumer/internal/fixture"
)

// private is a migrated sandbox on servers of the test's own.
func private(t *testing.T) (*harness.Servers, *harness.Sandbox) {
	t.Helper()
	servers := harness.Private(t)
	box, err := servers.Sandbox(t.Context(), t.Name())
	require.NoError(t, err)
	_, err = migrations.Up(t.Context(), box.PostgresURL)
	require.NoError(t, err)
	return servers, box
}

func TestOutagesAreWaitedOutAndNothingIsDeadLetteredOrLost(t *testing.T) {
	t.Parallel()
	servers, box := private(t)
	client := fixture.Redis(t, box)
	r := start(t, box, nil)
	fixture.Add(t, client, box.StreamName, fixture.Series(0, 1000)...)
	settled(t, box, 1000)
	require.Equal(t, "running", r.status(t).State)

	// PostgreSQL goes; the breaker opens and reading stops.
	require.NoError(t, servers.StopPostgres(t.Context()))
	fixture.Add(t, client, box.StreamName, fixture.Series(1000, 2000)...)
	eventually(t, "the breaker opens", func() bool { return r.status(t).Breaker == "open" })
	require.Equal(t, "waiting", r.status(t).State)
	require.NotContains(t, r.call(t, http.MethodGet, "/v1/dead-letters", http.StatusServiceUnavailable, nil), "postgres")
	var read int64
	eventually(t, "no more is read", func() bool {
		last := read
		read = pendingIn(t, client, box)
		return read == last
	})
	fixture.Add(t, client, box.StreamName, fixture.Series(2000, 5000)...)
	eventually(t, "the backlog is measured", func() bool { return r.status(t).Partitions[0].Events == 4000 })
	require.Less(t, pendingIn(t, client, box), int64(1700), "two batches, the chunks between, and one read: the rest waits in the stream")

	// It comes back.
	require.NoError(t, servers.StartPostgres(t.Context()))
	settled(t, box, 5000)
	eventually(t, "the breaker closes", func() bool { return r.status(t).State == "running" })
	var breaker []string
	for _, line := range r.log.all() {
		if strings.Contains(line, "circuit breaker") {
			breaker = append(breaker, line[strings.LastIndex(line, "to="):])
		}
	}
	require.Equal(t, "to=open", breaker[0])
	require.Equal(t, []string{"to=half-open", "to=closed"}, breaker[len(breaker)-2:])

	// Redis goes and comes back from its append-only file, while batches are written.
	fixture.Add(t, client, box.StreamName, fixture.Series(5000, 8000)...)
	require.NoError(t, servers.StopRedis(t.Context()))
	eventually(t, "the consumer notices", func() bool {
		return slices.ContainsFunc(r.log.all(), func(line string) bool {
			return strings.HasPrefix(line, "Reading the stream failed") || strings.HasPrefix(line, "Keeping the stream failed")
		})
	})
	require.NoError(t, servers.StartRedis(t.Context()))
	fixture.Add(t, client, box.StreamName, fixture.Series(8000, 9000)...)
	settled(t, box, 9000)
}
