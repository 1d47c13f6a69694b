package harness

import (
	"context"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestSharedServersAnswerAndHaveTimescale(t *testing.T) {
	t.Parallel()
	servers := Shared(t)
	require.NotEmpty(t, servers.Chosen)
	require.NoError(t, pingRedis(t.Context(), servers.RedisURL))
	require.NoError(t, hasTimescale(t.Context(), servers.PostgresURL))

	box := NewSandbox(t)
	require.NoError(t, execute(t.Context(), box.PostgresURL, "CREATE EXTENSION timescaledb"))
	require.Equal(t, "on", text(t, box.PostgresURL, "SHOW synchronous_commit"))
}

func TestSandboxesDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	servers := Shared(t)
	a, err := servers.Sandbox(t.Context(), "Same/Name, however long it is and with signs that SQL would not like; '\"")
	require.NoError(t, err)
	b := NewSandbox(t)
	require.NotEqual(t, a.StreamName, b.StreamName)

	require.NoError(t, execute(t.Context(), a.PostgresURL, "CREATE TABLE mine ()"))
	require.ErrorContains(t, execute(t.Context(), b.PostgresURL, "SELECT FROM mine"), "does not exist")

	redis, err := newRedis(a.RedisURL)
	require.NoError(t, err)
	defer redis.Close()
	require.NoError(t, redis.Set(t.Context(), a.StreamName+":{0}", 1, 0).Err())
	require.NoError(t, redis.Set(t.Context(), b.StreamName+":{0}", 1, 0).Err())

	// Whoever is still connected does not hold the sandbox open.
	left, err := pgx.Connect(t.Context(), a.PostgresURL)
	require.NoError(t, err)
	defer left.Close(t.Context())
	require.NoError(t, a.Close(t.Context()))
	require.Error(t, pingPostgres(t.Context(), a.PostgresURL))
	require.Zero(t, redis.Exists(t.Context(), a.StreamName+":{0}").Val())
	require.EqualValues(t, 1, redis.Exists(t.Context(), b.StreamName+":{0}").Val())
	require.NoError(t, pingPostgres(t.Context(), b.PostgresURL))
}

func TestGivenURLsAreUsedAndLeftAlone(t *testing.T) {
	t.Parallel()
	running := Shared(t)
	servers, err := Start(t.Context(), Options{Getenv: env(map[string]string{
		"REDIS_URL": running.RedisURL, "POSTGRES_URL": running.PostgresURL,
	})})
	require.NoError(t, err)
	require.Equal(t, "given by REDIS_URL and POSTGRES_URL", servers.Chosen)
	require.ErrorContains(t, servers.KillPostgres(t.Context()), "given by POSTGRES_URL")

	require.NoError(t, servers.Close())
	require.NoError(t, pingRedis(t.Context(), running.RedisURL))
	require.NoError(t, pingPostgres(t.Context(), running.PostgresURL))
}

func TestOneGivenURLStartsOnlyTheOther(t *testing.T) {
	t.Parallel()
	running := Shared(t)
	servers, err := Start(t.Context(), Options{Getenv: func(name string) string {
		switch name {
		case "POSTGRES_URL":
			return running.PostgresURL
		case "REDIS_URL":
			return ""
		}
		return os.Getenv(name)
	}})
	require.NoError(t, err)
	defer servers.Close()
	require.Contains(t, servers.Chosen, "given by POSTGRES_URL; ")
	require.Equal(t, running.PostgresURL, servers.PostgresURL)
	require.NotEqual(t, running.RedisURL, servers.RedisURL)
	require.NoError(t, pingRedis(t.Context(), servers.RedisURL))
}

func TestNothingWorkingIsOneErrorThatNamesTheThreeWays(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Options{Getenv: env(map[string]string{"DOCKER_HOST": "unix:///nowhere/docker.sock"})})
	require.Error(t, err)
	for _, part := range []string{
		"none of the three ways works", "1. given: not set: REDIS_URL, POSTGRES_URL",
		"2. containers: reach Docker at DOCKER_HOST", "3. binaries: no redis-server in PATH",
	} {
		require.ErrorContains(t, err, part)
	}
}

// One story on servers of its own, because it takes them down.
func TestServersComeBackWithDataAndAddressAndLeaveNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	servers := Private(t)
	box, err := servers.Sandbox(ctx, t.Name())
	require.NoError(t, err)
	redis, err := newRedis(servers.RedisURL)
	require.NoError(t, err)
	defer redis.Close()
	require.NoError(t, execute(ctx, box.PostgresURL, "CREATE TABLE kept (n int)"))

	for n, down := range []struct{ postgres, redis func(context.Context) error }{
		{servers.StopPostgres, servers.StopRedis},
		{servers.KillPostgres, servers.KillRedis},
	} {
		require.NoError(t, execute(ctx, box.PostgresURL, "INSERT INTO kept VALUES (1)"))
		require.NoError(t, redis.Incr(ctx, box.StreamName).Err())
		require.NoError(t, down.postgres(ctx))
		require.NoError(t, down.redis(ctx))
		require.Error(t, pingPostgres(ctx, servers.PostgresURL))
		require.Error(t, pingRedis(ctx, servers.RedisURL))
		require.NoError(t, servers.StartPostgres(ctx))
		require.NoError(t, servers.StartRedis(ctx))
		require.EqualValues(t, n+1, len(text(t, box.PostgresURL, "SELECT string_agg('x', '') FROM kept")))
		require.Equal(t, n+1, must(redis.Get(ctx, box.StreamName).Int())(t))
	}

	require.NoError(t, servers.Close())
	require.NoError(t, servers.Close(), "closing twice is fine")
	require.Error(t, pingPostgres(ctx, servers.PostgresURL))
	require.Error(t, pingRedis(ctx, servers.RedisURL))
	if c, ok := servers.redis.(*container); ok {
		docker, err := connectDocker(ctx, Options{}.withDefaults())
		require.NoError(t, err)
		defer docker.Close()
		_, err = docker.ContainerInspect(ctx, c.tc.GetContainerID(), client.ContainerInspectOptions{})
		require.ErrorContains(t, err, "No such container")
	}
}

// env is an environment of these variables alone.
func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func text(t *testing.T, url, query string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var s string
	require.NoError(t, conn.QueryRow(t.Context(), query).Scan(&s))
	return s
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		require.NoError(t, err)
		return value
	}
}
