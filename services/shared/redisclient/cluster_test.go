package redisclient_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/services/shared/redisclient"
)

func TestSeveralNodesAreACluster(t *testing.T) {
	t.Parallel()
	client, err := redisclient.New(redisclient.Config{URL: "rediss://user:p@ss,word@a:7000, b,[::1]:7002"})
	require.NoError(t, err)
	defer client.Close()
	require.IsType(t, &redis.ClusterClient{}, client)
	options := client.(*redis.ClusterClient).Options()
	require.Equal(t, []string{"a:7000", "b:6379", "[::1]:7002"}, options.Addrs)
	require.Equal(t, "user", options.Username)
	require.Equal(t, "p@ss,word", options.Password)
	require.NotNil(t, options.TLSConfig)

	single, err := redisclient.New(redisclient.Config{URL: "redis://:pass,word@a:7000/3"})
	require.NoError(t, err)
	defer single.Close()
	require.IsType(t, &redis.Client{}, single)
	require.Equal(t, 3, single.(*redis.Client).Options().DB)
}

func TestWhatIsNoClusterIsRefusedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis://:s3cret@a:1,b:2/3", "redis://:s3cret@a:1,:2", "redis://:s3cret@a:1,b:x", "redis://:s3cret@a:1,"} {
		err := redisclient.Config{URL: url}.Validate()
		require.ErrorContains(t, err, "REDIS_URL", url)
		require.NotContains(t, err.Error(), "s3cret")
	}
}
