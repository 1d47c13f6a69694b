package live

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// narrow is a transport with room for some messages; each further one waits for more.
type narrow struct {
	transport
	room chan struct{}
	sent []string
}

func (n *narrow) try(b burst) (left burst) {
	for i, p := range b {
		select {
		case <-n.room:
			n.sent = append(n.sent, string(p.data))
		default:
			return b[i:]
		}
	}
	return nil
}

func (n *narrow) write(p *packet) error {
	<-n.room
	n.sent = append(n.sent, string(p.data))
	return nil
}

func TestWhatThereIsNoRoomForIsSentWhenThereIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &narrow{room: make(chan struct{}, 10)}
		c := newClient(10)
		c.transport = n
		ended := make(chan error, 1)
		go func() { ended <- c.write() }()
		put := func(texts ...string) {
			var b burst
			for _, s := range texts {
				b = append(b, &packet{data: []byte(s)})
			}
			c.bursts <- b
			c.offer()
			synctest.Wait()
		}
		enlarge := func(by int) {
			for range by {
				n.room <- struct{}{}
			}
			synctest.Wait()
		}
		enlarge(2)
		put("a")
		put("b", "c", "d") // the last of which the own goroutine waits with
		require.Equal(t, []string{"a", "b"}, n.sent)
		put("e") // while it waits
		enlarge(2)
		require.Equal(t, []string{"a", "b", "c", "d"}, n.sent)
		enlarge(2) // nobody offers any more
		require.Equal(t, []string{"a", "b", "c", "d", "e"}, n.sent)
		put("f")
		put("g", "h")
		c.end(0, "")
		enlarge(1) // for the message that it was writing
		require.NoError(t, <-ended)
		require.Equal(t, []string{"a", "b", "c", "d", "e", "f", "g"}, n.sent)
	})
}

// wide is a transport with room for all, which counts.
type wide struct {
	transport
	sent chan struct{}
}

func (w *wide) try(b burst) (left burst) {
	for range b {
		w.sent <- struct{}{}
	}
	return nil
}

func (w *wide) write(*packet) error { w.sent <- struct{}{}; return nil }

// TestNothingStaysBehind offers what was put in by two goroutines at a time: one may find
// the other sending, which has looked already and goes away.
func TestNothingStaysBehind(t *testing.T) {
	t.Parallel()
	for range 50_000 {
		w := &wide{sent: make(chan struct{}, 2)}
		c := newClient(2)
		c.transport = w
		go func() { _ = c.write() }()
		for range 2 {
			go func() {
				c.bursts <- burst{&packet{}}
				c.offer()
			}()
		}
		for range 2 {
			select {
			case <-w.sent:
			case <-time.After(10 * time.Second):
				require.Fail(t, "it was not sent")
			}
		}
		c.end(0, "")
	}
}
