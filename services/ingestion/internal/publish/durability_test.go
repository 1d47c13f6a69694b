package publish_test

import (
	"bufio"
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/ingestion/internal/publish"
)

var fsync = publish.Config{Durability: "fsync"}

func TestFsyncAnswersOnceTheDiskHasItAndRequestsShareTheWait(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	client := connect(t, box.RedisURL)
	p := publish.New(fsync, client, []string{box.StreamName}, nil, prometheus.NewRegistry())
	require.NoError(t, p.Check(t.Context()))
	before := calls(t, client, "waitaof")
	run(t, p)
	const requests = 200
	var callers sync.WaitGroup
	start := time.Now()
	for i := range requests {
		callers.Go(func() {
			messages := make([]publish.Message, 1+i%2*800) // half are larger than a pipeline
			for j := range messages {
				messages[j].Payload = "x"
			}
			if err := p.Publish(t.Context(), messages); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	n, err := client.XLen(t.Context(), box.StreamName).Result()
	require.NoError(t, err)
	require.EqualValues(t, requests+requests/2*800, n)
	waits := calls(t, client, "waitaof") - before
	require.Positive(t, waits)
	require.Less(t, waits, int64(requests)/4)
	t.Logf("%d requests, %d waits, %v", requests, waits, time.Since(start))
}

// calls is how often the server has run a command.
func calls(t *testing.T, client redis.UniversalClient, command string) int64 {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	_, rest, found := strings.Cut(info, "cmdstat_"+command+":calls=")
	if !found {
		return 0
	}
	text, _, _ := strings.Cut(rest, ",")
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err)
	return n
}

func TestFsyncWithARedisThatCannotIsRefusedClearly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		says string
		want error
	}{
		{"-ERR unknown command 'waitaof', with args beginning with: '1' '0' '2500'", publish.ErrNoWaitAOF},
		{"-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.", publish.ErrNoAOF},
		{"*2\r\n:0\r\n:0", publish.ErrNotSynced},
	} {
		client := redis.NewClient(&redis.Options{Addr: parrot(t, test.says), MaxRetries: -1, DisableIdentity: true, Protocol: 2})
		p := publish.New(fsync, client, []string{"events"}, nil, prometheus.NewRegistry())
		require.ErrorIs(t, p.Check(t.Context()), test.want)
		require.NoError(t, publish.New(publish.Config{}, client, []string{"events"}, nil, prometheus.NewRegistry()).Check(t.Context()))
		client.Close()
	}
}

func TestWithoutAReplicaNothingIsAcceptedThatIsToBeAtOne(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	client := connect(t, box.RedisURL)
	p := publish.New(publish.Config{Durability: "replica"}, client, []string{box.StreamName}, nil, prometheus.NewRegistry())
	require.NoError(t, p.Check(t.Context()), "replicas come and go")
	run(t, p)
	require.ErrorIs(t, p.Publish(t.Context(), []publish.Message{{Payload: "x"}}), publish.ErrNotReplicated)
}

// parrot is a server that answers each command in the same way.
func parrot(t *testing.T, says string) (address string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		listener.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			serving.Go(func() {
				lines := bufio.NewScanner(conn)
				for lines.Scan() {
					if strings.HasPrefix(lines.Text(), "*") { // a command begins
						_, _ = conn.Write([]byte(says + "\r\n"))
					}
				}
			})
		}
	})
	return listener.Addr().String()
}
