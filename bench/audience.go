package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/gobwas/ws"

	"weir/bench/internal/rig"
)

// audienceCommand is the command that this program runs itself with, as processes of
// their own: the clients must not use the time of what measures, and a process may
// have only so many connections.
const audienceCommand = "live-clients"

// perProcess is how many clients a process has: below the usual limits for open files,
// and for ports of one address.
const perProcess = 4000

// audience is many clients of the live feed, in processes of their own.
type audience struct {
	processes []*listener
}

type listener struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
}

// told is what a listener is told at the end: the probes that were accepted meanwhile.
type told struct {
	Probes []rig.LiveProbe `json:"probes"` // by when they were due
}

// answered is what it says then.
type answered struct {
	Ready    bool                   `json:"ready"`
	Messages int64                  `json:"messages"` // received, since the first event was heard
	Closed   int                    `json:"closed"`   // clients that were closed
	Missed   int64                  `json:"missed"`   // updates that a client did not get, between two that it got
	Why      string                 `json:"why"`      // the first of the reasons for which clients were closed
	Latency  *hdrhistogram.Snapshot `json:"latency"`
	Error    string                 `json:"error"`
}

// listen starts the processes, and returns when all clients are connected.
func listen(ctx context.Context, api string, clients int) (a *audience, err error) {
	a = &audience{}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	program, err := os.Executable()
	if err != nil {
		return a, err
	}
	for i := 0; clients > 0; i++ {
		n := min(clients, perProcess)
		clients -= n
		// Each process from a local address of its own, where there are several: ports are per address.
		c := exec.Command(program, audienceCommand, "-url", api, "-clients", strconv.Itoa(n), "-from", fmt.Sprintf("127.0.0.%d", 2+i))
		c.Env = append(os.Environ(), audienceVariable+"=1")
		c.Stderr = os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for us: closing its input ends it
		l := &listener{command: c}
		if l.in, err = c.StdinPipe(); err != nil {
			return a, err
		}
		output, err := c.StdoutPipe()
		if err != nil {
			return a, err
		}
		l.out = json.NewDecoder(output)
		if err := c.Start(); err != nil {
			return a, err
		}
		a.processes = append(a.processes, l)
	}
	for _, l := range a.processes {
		if _, err := l.answer(ctx); err != nil {
			return a, err
		}
	}
	return a, nil
}

// audienceVariable lets a test's binary know that it is to be a listener.
const audienceVariable = "WEIR_BENCH_LIVE_CLIENTS"

func (l *listener) answer(ctx context.Context) (answered, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.command.Process.Kill() })
	defer stop()
	var a answered
	if err := l.out.Decode(&a); err != nil {
		return a, fmt.Errorf("a process of live clients ended: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// heardByAll is what all clients got.
type heardByAll struct {
	latency          rig.Latency
	messages, missed int64
	closed           int
	why              string
}

// Result ends the listening, and returns what was heard.
func (a *audience) Result(probes []rig.LiveProbe) (heardByAll, error) {
	all := heardByAll{latency: rig.NewLatency()}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, l := range a.processes {
		if err := json.NewEncoder(l.in).Encode(told{probes}); err != nil {
			return all, err
		}
		got, err := l.answer(ctx)
		if err != nil {
			return all, err
		}
		all.messages, all.missed, all.closed = all.messages+got.Messages, all.missed+got.Missed, all.closed+got.Closed
		if all.why == "" {
			all.why = got.Why
		}
		if got.Latency != nil {
			all.latency.Merge(got.Latency)
		}
	}
	return all, nil
}

// Close ends the processes.
func (a *audience) Close() error {
	for _, l := range a.processes {
		_ = l.in.Close()
		_ = l.command.Process.Kill()
		_ = l.command.Wait() // it was killed: that is no news
	}
	a.processes = nil
	return nil
}

// sit is what a listener's process does.
func sit(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet(audienceCommand, flag.ContinueOnError)
	api, clients, from := flags.String("url", "", ""), flags.Int("clients", 1, ""), flags.String("from", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	h := hearing{epochs: map[string]*epoch{}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	say := json.NewEncoder(out)
	if err := h.connect(ctx, *api, *clients, *from); err != nil {
		return errors.Join(err, say.Encode(answered{Error: err.Error()}))
	}
	if err := say.Encode(answered{Ready: true}); err != nil {
		return err
	}
	var t told
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return nil // whom we listen for has ended
	}
	latency := h.measure(t.Probes)
	// What was sent last may be on its way.
	for patience := time.Now().Add(5 * time.Second); latency.Count() < int64(*clients*len(t.Probes)) && time.Now().Before(patience); {
		time.Sleep(100 * time.Millisecond)
		latency = h.measure(t.Probes)
	}
	h.mu.Lock()
	a := answered{Messages: h.messages, Closed: h.closed, Missed: h.missed, Why: h.why, Latency: latency.Export()}
	h.mu.Unlock()
	cancel()
	h.clients.Wait()
	return say.Encode(a)
}

// hearing is what the clients of one process have heard.
type hearing struct {
	clients sync.WaitGroup

	mu               sync.Mutex
	epochs           map[string]*epoch
	messages, missed int64
	closed           int
	why              string
}

// epoch is a sequence of updates. The api has one for each of its lanes of clients.
type epoch struct {
	began   time.Time // when its snapshot came, which has all before
	updates map[int64]*update
}

type update struct {
	counts map[string]int // by type of event
	at     []time.Time    // when each client had it
}

func (h *hearing) measure(probes []rig.LiveProbe) rig.Latency {
	h.mu.Lock()
	defer h.mu.Unlock()
	latency := rig.NewLatency()
	for _, e := range h.epochs {
		e.measure(probes, latency)
	}
	return latency
}

// measure records how long each probe took from when it was accepted to each client. The
// updates count the probes of a type in the order in which they were sent.
func (e *epoch) measure(probes []rig.LiveProbe, into rig.Latency) {
	due := map[string][]rig.LiveProbe{}
	for _, p := range probes {
		if p.Due.After(e.began) {
			due[p.Type] = append(due[p.Type], p)
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(e.updates)) {
		u := e.updates[seq]
		for kind, n := range u.counts {
			n = min(n, len(due[kind]))
			for _, p := range due[kind][:n] {
				for _, at := range u.at {
					into.Record(at.Sub(p.Accepted))
				}
			}
			due[kind] = due[kind][n:]
		}
	}
}

// message is one of the feed.
type message struct {
	kind, epoch string
	seq         int64
}

// connect connects the clients, some at a time. They are bare connections, whose frames
// are passed over: thousands that read every message whole would be measured themselves
// (with coder/websocket they took more CPU than the api), and one of package live's, which
// comes back by itself, would hide that it was closed.
func (h *hearing) connect(ctx context.Context, api string, clients int, from string) error {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	if local, err := net.ResolveTCPAddr("tcp", from+":0"); err == nil && strings.Contains(api, "127.0.0.1") {
		if l, err := net.ListenTCP("tcp", local); err == nil { // not every system has more than 127.0.0.1
			_ = l.Close()
			dialer.LocalAddr = local
		}
	}
	upgrade := ws.Dialer{NetDial: dialer.DialContext, Timeout: dialer.Timeout}
	const atATime = 50
	free := make(chan struct{}, atATime)
	failed := make(chan error, clients)
	var connecting sync.WaitGroup
	for range clients {
		free <- struct{}{}
		connecting.Go(func() {
			defer func() { <-free }()
			conn, early, _, err := upgrade.Dial(ctx, "ws"+strings.TrimPrefix(api, "http")+"/v1/live")
			if err != nil {
				failed <- err
				return
			}
			if early == nil {
				early = bufio.NewReader(conn)
			}
			h.clients.Go(func() { h.listen(ctx, conn, early) })
		})
	}
	connecting.Wait()
	select {
	case err := <-failed:
		return fmt.Errorf("%d of %d clients were not let in: %w", len(failed)+1, clients, err)
	default:
		return nil
	}
}

// listen notes when each update came, until the connection ends.
func (h *hearing) listen(ctx context.Context, conn net.Conn, r *bufio.Reader) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	var last message
	for {
		m, body, err := next(conn, r, h.first)
		now := time.Now()
		h.mu.Lock()
		if err != nil {
			if ctx.Err() == nil {
				if h.closed++; h.why == "" {
					h.why = err.Error()
				}
			}
			h.mu.Unlock()
			return
		}
		switch m.kind {
		case "snapshot":
			if e := h.epoch(m.epoch); e.began.IsZero() {
				e.began = now
			}
			last = m
		case "delta":
			u := h.epoch(m.epoch).updates[m.seq]
			u.at = append(u.at, now)
			if body != nil {
				u.counts = counts(body)
			}
			h.messages++
			if m.epoch == last.epoch && m.seq > last.seq+1 {
				h.missed += m.seq - last.seq - 1
			}
			last = m
		}
		h.mu.Unlock()
	}
}

// first reports whether no client has had an update before.
func (h *hearing) first(m message) bool {
	if m.kind != "delta" {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.epoch(m.epoch)
	if e.updates[m.seq] != nil {
		return false
	}
	e.updates[m.seq] = &update{}
	return true
}

func (h *hearing) epoch(name string) *epoch {
	e := h.epochs[name]
	if e == nil {
		e = &epoch{updates: map[int64]*update{}}
		h.epochs[name] = e
	}
	return e
}

// next reads up to the end of the next message. Of what is in it, it reads no more than
// its place, if not the whole is wanted. The server sends each in one frame.
func next(conn net.Conn, r *bufio.Reader, whole func(message) bool) (m message, body []byte, err error) {
	for {
		frame, err := ws.ReadHeader(r)
		if err != nil {
			return m, nil, err
		}
		head, err := r.Peek(int(min(frame.Length, headLength)))
		if err != nil {
			return m, nil, err
		}
		switch frame.OpCode {
		case ws.OpClose:
			_, reason := ws.ParseCloseFrameData(head)
			return m, nil, fmt.Errorf("closed by the api: %s", reason)
		case ws.OpPing:
			if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewPongFrame(head))); err != nil {
				return m, nil, err
			}
		case ws.OpText:
			if m = place(string(head)); whole(m) {
				body = make([]byte, frame.Length)
				_, err := io.ReadFull(r, body)
				return m, body, err
			}
		}
		if _, err := r.Discard(int(frame.Length)); err != nil {
			return m, nil, err
		}
		if frame.OpCode == ws.OpText {
			return m, nil, nil
		}
	}
}

// headLength is how far into a message its place is, in bytes, and no shorter than a
// control frame may be.
const headLength = 200

// place reads where in the feed a message is, and of what kind. The fields stand at its
// beginning, in this order: {"type":"delta","epoch":"...","seq":17,...
func place(head string) (m message) {
	_, rest, _ := strings.Cut(head, `"type":"`)
	m.kind, rest, _ = strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(rest, `"epoch":"`)
	m.epoch, rest, _ = strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(rest, `"seq":`)
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end > 0 {
		m.seq, _ = strconv.ParseInt(rest[:end], 10, 64)
	}
	return m
}

// counts are how many events of each type an update counts.
func counts(body []byte) map[string]int {
	var m struct {
		Minutes []struct {
			Type   string
			Events int
		}
	}
	if json.Unmarshal(body, &m) != nil {
		return nil // not of this api: then fewer are heard than were sent
	}
	n := map[string]int{}
	for _, counted := range m.Minutes {
		n[counted.Type] += counted.Events
	}
	return n
}
