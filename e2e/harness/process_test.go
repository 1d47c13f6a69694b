package harness

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBinariesOfThisMachineServeRestartAndLeaveNothing(t *testing.T) {
	t.Parallel()
	for _, p := range []product{redisProduct, postgresProduct} {
		if _, err := p.find(os.Getenv); err != nil {
			t.Skipf("%s is not installed on this machine: %v", p.name, err)
		}
	}
	// A Docker that is not there leaves the binaries.
	servers, err := Start(t.Context(), Options{Getenv: env(map[string]string{
		"DOCKER_HOST": "unix:///nowhere/docker.sock", "PATH": os.Getenv("PATH"),
	})})
	require.NoError(t, err)
	defer servers.Close()
	require.NoError(t, execute(t.Context(), servers.PostgresURL, "CREATE EXTENSION timescaledb"))
	for _, fault := range []func(*Servers) error{
		func(s *Servers) error { return s.StopPostgres(t.Context()) },
		func(s *Servers) error { return s.KillPostgres(t.Context()) },
	} {
		require.NoError(t, fault(servers))
		require.Error(t, pingPostgres(t.Context(), servers.PostgresURL))
		require.NoError(t, servers.StartPostgres(t.Context()))
		require.Equal(t, "1", text(t, servers.PostgresURL, "SELECT count(*)::text FROM pg_extension WHERE extname = 'timescaledb'"))
	}
	dir := servers.redis.(*process).dir
	require.DirExists(t, dir)
	require.NoError(t, servers.Close())
	require.NoDirExists(t, dir)
}
