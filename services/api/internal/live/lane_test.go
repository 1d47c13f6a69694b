package live

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestManyClientsAreToldInTurnsAndEachIsToldAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const interval = 90 * time.Millisecond // which three lanes share
		h := New(Config{Interval: interval, Heartbeat: time.Hour, Reconcile: time.Hour}, "events", nil, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go h.loop(ctx)
		h.call(func(context.Context) { h.adopt(window{}, nil, visibility{}, subscribedAgain) })

		xid := uint64(0)
		publish := func() {
			xid++
			h.signals <- signal{event: published, batch: batch{xid: xid, counts: window{{minuteOf(time.Now()), "a"}: {events: 1}}}}
			time.Sleep(30 * time.Millisecond)
		}
		join := func(resume *place) *listener {
			l := &listener{client: newClient(64)}
			l.client.transport = l
			l.client.wants, l.client.good = Subscription{Metrics: true}, func() bool { return true }
			h.add(l.client, resume)
			return l
		}
		var all []*listener
		for i := range 2*laneSize + 1 {
			if i == laneSize { // the next lane begins while something waits to be sent
				publish()
				publish()
			}
			all = append(all, join(nil))
		}
		for range 20 {
			publish()
		}
		time.Sleep(interval)

		told := map[time.Time]int{}
		epochs := map[string]bool{}
		for _, l := range all {
			messages := l.hear(t)
			require.Equal(t, "snapshot", messages[0].Type)
			for i, m := range messages[1:] {
				require.Equal(t, "delta", m.Type)
				require.Equal(t, messages[i].Epoch, m.Epoch)
				require.Equal(t, messages[i].Seq+1, m.Seq)
				if i > 0 {
					require.GreaterOrEqual(t, m.AsOf.Sub(messages[i].AsOf), interval)
				}
				told[m.AsOf]++
			}
			require.EqualValues(t, 22, l.events)
			require.EqualValues(t, 22, l.last.Totals.Events)
			require.Greater(t, len(messages), 5)
			epochs[l.last.Epoch] = true
		}
		require.Len(t, epochs, 3)
		for at, n := range told {
			require.LessOrEqual(t, n, laneSize, at)
		}

		// Whoever comes back gets on in its own lane.
		left := all[laneSize+500]
		h.dismiss(left.client, 0, "")
		publish()
		time.Sleep(interval)
		back := join(&place{left.last.Epoch, left.last.Seq})
		messages := back.hear(t)
		require.Len(t, messages, 2)
		require.Equal(t, "delta", messages[0].Type)
		require.Equal(t, left.last.Seq+1, messages[0].Seq)
		require.EqualValues(t, 23, messages[1].Totals.Events)

		for _, l := range append(all[1:], back) {
			h.dismiss(l.client, 0, "")
		}
		lanes := func() (n int) {
			h.call(func(context.Context) { n = len(h.lanes) })
			synctest.Wait()
			return n
		}
		time.Sleep(2 * lookAgain)
		require.Equal(t, 3, lanes(), "they may come back")
		time.Sleep(2 * laneRest)
		require.Equal(t, 1, lanes())
		publish()
		require.Len(t, all[0].hear(t), 2, "the one that it had not read, and the new")
	})
}

// listener is a client of the hub, whose connection has room for all.
type listener struct {
	transport
	client *client
	got    burst
	events int64
	last   heard
}

type heard struct {
	Type    string
	Epoch   string
	Seq     uint64
	AsOf    time.Time `json:"as_of"`
	Minutes []struct{ Events int64 }
	Totals  struct{ Events int64 }
}

func (l *listener) try(b burst) (left burst) {
	l.got = append(l.got, b...)
	return nil
}

// hear reads what it was sent.
func (l *listener) hear(t *testing.T) (messages []heard) {
	t.Helper()
	synctest.Wait()
	for _, p := range l.got {
		var m heard
		require.NoError(t, json.Unmarshal(p.data, &m))
		if m.Type == "snapshot" {
			l.events = 0
		}
		for _, n := range m.Minutes {
			l.events += n.Events
		}
		l.last = m
		messages = append(messages, m)
	}
	l.got = nil
	return messages
}
