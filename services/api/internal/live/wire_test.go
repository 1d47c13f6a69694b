package live

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
)

// TestEachGetsAllInOrderHoweverItReads has several goroutines send a client messages of all
// sizes, many of which find room for a part of them, or for nothing, while it pings.
func TestEachGetsAllInOrderHoweverItReads(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(http.Handler) *httptest.Server{"plain": httptest.NewServer, "TLS": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const messages, pings = 2000, 15
			message := func(i int) string { return fmt.Sprint(i, " ", strings.Repeat("x", i*7919%20_000)) }
			var waited, ponged atomic.Int64
			server := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c := newClient(messages)
				s, err := accept(w, r, c, nil)
				if err != nil {
					return
				}
				c.transport = s
				c.code, c.reason = websocket.StatusNormalClosure, "all was said"
				var working sync.WaitGroup
				working.Go(func() {
					for err := error(nil); err == nil; {
						_, _, err = s.conn.Read(context.Background())
					}
				})
				var putting sync.Mutex
				put := 0
				for range 4 {
					working.Go(func() {
						for done := false; !done; {
							putting.Lock()
							if done = put == messages; !done {
								c.bursts <- burst{newPacket([]byte(message(put)))}
								if put++; put == messages {
									close(c.bursts)
									c.rouse()
								}
							}
							putting.Unlock()
							c.offer()
							if len(c.wake) > 0 {
								waited.Add(1)
							}
						}
					})
				}
				_ = c.write()
				working.Wait()
			}))
			defer server.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			conn, _, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{
				HTTPClient:     server.Client(),
				OnPongReceived: func(context.Context, []byte) { ponged.Add(1) },
			})
			require.NoError(t, err)
			defer conn.CloseNow() //nolint:errcheck // the server closed it
			for range pings {
				go conn.Ping(ctx) //nolint:errcheck // counted when it comes
			}
			for i := range messages {
				_, data, err := conn.Read(ctx)
				require.NoError(t, err, i)
				require.Equal(t, message(i), string(data))
			}
			_, _, err = conn.Read(ctx)
			require.Equal(t, websocket.StatusNormalClosure, websocket.CloseStatus(err))
			require.EqualValues(t, pings, ponged.Load())
			require.Positive(t, waited.Load(), "there was always room")
		})
	}
}

func TestAFrameThatWasBegunIsFinishedFirst(t *testing.T) {
	t.Parallel()
	w, peer := pair(t)
	sent := 0
	large := newPacket(make([]byte, 1<<20)).frame
	for took, whole := true, true; whole; sent++ {
		took, whole = w.try(large)
		require.True(t, took || sent > 0)
		if !took { // by chance, all of the last one fitted
			t.Skip("the connection's buffer ends where a message does")
		}
	}
	hear := func(length int) {
		f, err := ws.ReadFrame(peer)
		require.NoError(t, err)
		require.Equal(t, ws.OpText, f.Header.OpCode)
		require.Len(t, f.Payload, length)
	}
	for range sent - 1 {
		hear(1 << 20)
	}
	small := newPacket([]byte("small")).frame
	took, _ := w.try(small)
	require.False(t, took, "there is room again, in the middle of a frame")
	go func() { _, _ = w.Write(small) }()
	hear(1 << 20)
	hear(len("small"))
}

// deadlines is a connection that takes all, and notes the last deadline.
type deadlines struct {
	net.Conn
	last time.Time
}

func (d *deadlines) Write(b []byte) (int, error)           { return len(b), nil }
func (d *deadlines) SetWriteDeadline(last time.Time) error { d.last = last; return nil }

func TestADeadlineIsForOneFrame(t *testing.T) {
	t.Parallel()
	d := &deadlines{last: time.Now()}
	_, err := newWire(d).Write(newPacket([]byte("text")).frame)
	require.NoError(t, err)
	require.Zero(t, d.last, "what is written later would fail")
}

func TestNothingFollowsACloseFrame(t *testing.T) {
	t.Parallel()
	w, _ := pair(t)
	text := newPacket([]byte("text")).frame
	took, whole := w.try(text)
	require.True(t, took && whole)
	_, err := w.Write(ws.MustCompileFrame(ws.NewCloseFrame(nil)))
	require.NoError(t, err)
	took, _ = w.try(text)
	require.False(t, took)
	_, err = w.Write(text)
	require.ErrorIs(t, err, net.ErrClosed)
}

// BenchmarkTry sends an update of common size to one client.
func BenchmarkTry(b *testing.B) {
	w, peer := pair(b)
	go func() {
		for buffer := make([]byte, 64<<10); ; {
			if _, err := peer.Read(buffer); err != nil {
				return
			}
		}
	}()
	frame := newPacket([]byte(strings.Repeat("x", 800))).frame
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if took, whole := w.try(frame); !took || !whole {
			_, err := w.Write(nil)
			require.NoError(b, err)
		}
	}
}

// pair is a wire and its other end.
func pair(t testing.TB) (*wire, net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	peer, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = peer.Close() })
	conn, err := listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return newWire(conn), peer
}
