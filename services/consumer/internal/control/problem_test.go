package control

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// reply is an error that Redis answers with.
type reply string

func (r reply) Error() string { return string(r) }
func (r reply) RedisError()   {}

func TestWhatPassesByItselfIs503(t *testing.T) {
	t.Parallel()
	c := &Control{Log: slog.New(slog.DiscardHandler)}
	for _, cause := range []error{
		reply("OOM command not allowed when used memory > 'maxmemory'."), reply("LOADING Redis is loading the dataset in memory"),
		reply("READONLY You can't write against a read only replica."), reply("MASTERDOWN Link with MASTER is down"),
		reply("CLUSTERDOWN The cluster is down"), reply("MISCONF Redis is configured to save RDB snapshots"), io.EOF, redis.ErrPoolTimeout,
	} {
		err := c.problem(t.Context(), fmt.Errorf("publish: %w", cause))
		var problem huma.StatusError
		require.ErrorAs(t, err, &problem, cause)
		require.Equal(t, http.StatusServiceUnavailable, problem.GetStatus())
		var headers huma.HeadersError
		require.ErrorAs(t, err, &headers)
		require.NotEmpty(t, headers.GetHeaders().Get("Retry-After"))
	}
	for _, cause := range []error{reply("WRONGTYPE Operation against a key holding the wrong kind of value"), errors.New("a mistake")} {
		require.Equal(t, cause, c.problem(t.Context(), cause))
	}
}
