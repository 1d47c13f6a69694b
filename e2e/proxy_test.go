package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

// network is a stretch of network before one server, which can fail.
type network struct {
	control *toxiproxy.ApiServer // not served: its proxies need one
	proxy   *toxiproxy.Proxy
	url     string // the server's, through it
}

// quiet keeps toxiproxy from logging past the logger that it is given.
var quiet = sync.OnceFunc(func() { zerolog.SetGlobalLevel(zerolog.Disabled) })

// through puts a network before a server until the test ends.
func through(t *testing.T, server string) *network {
	t.Helper()
	address, err := url.Parse(server)
	require.NoError(t, err)
	quiet()
	n := &network{control: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
	n.proxy = toxiproxy.NewProxy(n.control, address.Host, "127.0.0.1:0", address.Host)
	require.NoError(t, n.proxy.Start())
	t.Cleanup(func() { n.proxy.Stop() })
	address.Host = n.proxy.Listen
	n.url = address.String()
	return n
}

// proxied returns the settings of a consumer whose servers are behind networks.
func proxied(t *testing.T, box *harness.Sandbox) (redis, postgres *network, settings []string) {
	t.Helper()
	redis, postgres = through(t, box.RedisURL), through(t, box.PostgresURL)
	return redis, postgres, []string{"REDIS_URL=" + redis.url, "POSTGRES_URL=" + postgres.url}
}

// cut closes all connections and takes no new ones, for a while.
func (n *network) cut(for_ time.Duration) error {
	n.proxy.Stop()
	time.Sleep(for_)
	return n.proxy.Start()
}

// The ways in which what goes through suffers, from fail to heal. "Half-open" says
// nothing and closes nothing: data is swallowed, so each end believes that the other
// is there. A toxicity of a half hits about every second connection.
var (
	resets     = []string{`{"type": "reset_peer", "stream": "upstream", "toxicity": 0.5, "attributes": {"timeout": 100}}`}
	slow       = []string{`{"type": "latency", "attributes": {"latency": 100, "jitter": 50}}`, `{"type": "bandwidth", "stream": "upstream", "attributes": {"rate": 500}}`}
	sliced     = []string{`{"type": "slicer", "attributes": {"average_size": 100, "size_variation": 50, "delay": 100}}`}
	halfOpen   = []string{`{"type": "timeout", "stream": "upstream"}`, `{"type": "timeout", "stream": "downstream"}`}
	unheard    = []string{`{"type": "timeout", "stream": "upstream"}`}
	unanswered = []string{`{"type": "timeout", "stream": "downstream"}`}
	halfBroken = []string{`{"type": "timeout", "stream": "downstream", "toxicity": 0.5}`}
)

func (n *network) fail(ways []string) error {
	for i, way := range ways {
		named := fmt.Sprintf(`{"name": "%d", %s`, i, strings.TrimPrefix(way, "{"))
		if _, err := n.proxy.Toxics.AddToxicJson(strings.NewReader(named)); err != nil {
			return fmt.Errorf("make the network fail: %w", err)
		}
	}
	return nil
}

// heal is a new network. Connections through the old one are closed: toxiproxy 2.5
// waits long, and not always well, when it is to take its toxics off them.
func (n *network) heal() error {
	n.proxy.Stop()
	n.proxy = toxiproxy.NewProxy(n.control, n.proxy.Name, n.proxy.Listen, n.proxy.Upstream)
	return n.proxy.Start()
}
