package store_test

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/store"
)

// A COMMIT whose answer is lost is the one case where nobody can know whether the
// batch is stored.
func TestACommitWhoseAnswerIsLostIsCountedOnce(t *testing.T) {
	t.Parallel()
	box := fixture.Box(t)
	pool := fixture.Pool(t, box)
	address, err := url.Parse(box.PostgresURL)
	require.NoError(t, err)
	p := &proxy{server: address.Host}
	address.Host = p.listen(t)
	through, err := pgxpool.New(t.Context(), address.String())
	require.NoError(t, err)
	defer through.Close()
	s := store.Store{Pool: through, Timeout: 5 * time.Second}

	for round, suspect := range []bool{false, true} { // both ways of writing
		p.loseCommit.Store(true)
		b := series(round*100, round*100+100)
		b.Suspect = suspect
		_, err = s.Write(t.Context(), b)
		require.Error(t, err)
		require.Equal(t, store.Outage, store.Classify(err))
		require.False(t, p.loseCommit.Load(), "the proxy swallowed an answer")
		require.EqualValues(t, round*100+100, count(t, pool, "events"), "it was committed all the same")

		r, err := s.Write(t.Context(), b) // what the pipeline does: the same batch again
		require.NoError(t, err)
		require.Zero(t, r.Inserted)
		require.EqualValues(t, round*100+100, count(t, pool, "events"))
		fixture.RollupsEqualRaw(t, pool)
	}
}

// proxy stands between a client and PostgreSQL, and can lose the answer to a COMMIT.
type proxy struct {
	server     string
	loseCommit atomic.Bool
}

func (p *proxy) listen(t *testing.T) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			relays.Go(func() { p.relay(client) })
		}
	})
	t.Cleanup(func() { l.Close(); relays.Wait() })
	return l.Addr().String()
}

func (p *proxy) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		defer client.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil {
				return
			}
			if p.loseCommit.Load() && bytes.Contains(buffer[:n], []byte("COMMIT\x00")) { // it is done
				p.loseCommit.Store(false)
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			break
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			break
		}
	}
	server.Close()
	back.Wait()
}
