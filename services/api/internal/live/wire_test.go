package live

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
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
				var working sync.WaitGroup
				working.Go(func() {
					for err := error(nil); err == nil; {
						if _, _, err = s.conn.Read(context.Background()); err == nil {
							c.end(websocket.StatusNormalClosure, "you have it all")
						}
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
								put++
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
			require.NoError(t, conn.Write(ctx, websocket.MessageText, []byte("enough")))
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
	for w.try(large) {
		sent++
	}
	require.Positive(t, sent)
	hear := func(length int) {
		f, err := ws.ReadFrame(peer)
		require.NoError(t, err)
		require.Equal(t, ws.OpText, f.Header.OpCode)
		require.Len(t, f.Payload, length)
	}
	for range sent {
		hear(1 << 20)
	}
	small := newPacket([]byte("small")).frame
	if w.begun {
		require.False(t, w.try(small), "there is room again, in the middle of a message")
	}
	go func() {
		_, _ = w.Write(ws.MustCompileFrame(ws.NewPongFrame(nil))) // finds the message's rest to write
		_ = w.send(large)                                         // and this nothing
		_ = w.send(small)
	}()
	pong, err := ws.ReadFrame(peer)
	require.NoError(t, err)
	if pong.Header.OpCode == ws.OpText {
		require.Len(t, pong.Payload, 1<<20)
		pong, err = ws.ReadFrame(peer)
		require.NoError(t, err)
	}
	require.Equal(t, ws.OpPong, pong.Header.OpCode)
	hear(len("small"))
}

// deadlines is a connection that takes all, and notes the last deadline.
type deadlines struct {
	net.Conn
	last  time.Time
	fails bool
}

func (d *deadlines) Write(b []byte) (int, error) {
	if d.fails {
		return 1, os.ErrDeadlineExceeded
	}
	return len(b), nil
}

func (d *deadlines) SetWriteDeadline(last time.Time) error { d.last = last; return nil }

func TestADeadlineIsForOneFrame(t *testing.T) {
	t.Parallel()
	d := &deadlines{last: time.Now()}
	require.NoError(t, newWire(d).send(newPacket([]byte("text")).frame))
	require.Zero(t, d.last, "what is written later would fail")
}

func TestNothingFollowsAWriteThatFailed(t *testing.T) {
	t.Parallel()
	d := &deadlines{fails: true}
	w := newWire(d)
	text := newPacket([]byte("text")).frame
	require.Error(t, w.send(text))
	d.fails = false
	_, err := w.Write(ws.MustCompileFrame(ws.NewPongFrame(nil)))
	require.ErrorIs(t, err, net.ErrClosed, "in the middle of a message")
}

func TestNothingFollowsACloseFrame(t *testing.T) {
	t.Parallel()
	w, _ := pair(t)
	text := newPacket([]byte("text")).frame
	require.True(t, w.try(text))
	_, err := w.Write(ws.MustCompileFrame(ws.NewCloseFrame(nil)))
	require.NoError(t, err)
	require.False(t, w.try(text))
	require.ErrorIs(t, w.send(text), net.ErrClosed)
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
		if !w.try(frame) {
			require.NoError(b, w.send(frame))
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
