package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"weir/openapi/client/live"
	"weir/services/shared/event"
)

// ProbeSource is the source of the probes, the generator's is another.
const ProbeSource = "bench-probe"

// ProbesPerSecond gives a p99 something to stand on within seconds, and costs little:
// a request each, and a look at the database a hundred times a second at most.
const ProbesPerSecond = 50

const (
	// look is how long the database rests between two looks: what is measured is at most
	// this, and a query of a fraction of a millisecond, more than what is so.
	look = 10 * time.Millisecond
	// probeTypes is how many types the probes take turns in. The live feed counts by
	// type: with so many, the next of a type is seconds away.
	probeTypes = 200
	// giveUp is how long an accepted probe is looked for after the last was sent.
	giveUp = 2 * time.Minute
	// unheard is how long the live feed may take longer than the database.
	unheard = 5 * time.Second
)

// Latency is a distribution of times. It is from when an event was due, so what waits
// because others are slow counts too.
type Latency struct{ h *hdrhistogram.Histogram }

// NewLatency returns an empty one, exact to a thousandth, up to an hour.
func NewLatency() Latency {
	return Latency{hdrhistogram.New(1, time.Hour.Microseconds(), 3)}
}

// Record adds a time.
func (l Latency) Record(d time.Duration) {
	_ = l.h.RecordValue(min(max(d, 0), time.Hour).Microseconds())
}

// Count is how many were recorded.
func (l Latency) Count() int64 { return l.h.TotalCount() }

// At is a percentile, from 0 to 100, in seconds.
func (l Latency) At(percentile float64) float64 {
	return float64(l.h.ValueAtPercentile(percentile)) / 1e6
}

// Export and Import carry it from one process to another.
func (l Latency) Export() *hdrhistogram.Snapshot { return l.h.Export() }

// Merge adds what another process exported.
func (l Latency) Merge(s *hdrhistogram.Snapshot) { l.h.Merge(hdrhistogram.Import(s)) }

// Probes are events that are sent over HTTP at a steady rate, whatever becomes of the
// ones before, each followed until it can be queried and until the live feed has it.
type Probes struct {
	rig     *Rig
	start   time.Time
	rate    float64
	client  *http.Client
	cancel  context.CancelFunc
	began   func()        // the live feed is followed
	stop    chan struct{} // closed: no more are sent
	sending sync.WaitGroup
	working sync.WaitGroup

	mu      sync.Mutex
	waiting map[event.UUID]time.Time // accepted, not yet seen in the database
	live    [probeTypes][]*LiveProbe // not yet seen in the live feed, by type
	all     []*LiveProbe
	result  ProbeResult
}

// LiveProbe is a probe as the live feed counts it.
type LiveProbe struct {
	Type          string
	Due, Accepted time.Time // Accepted is zero if it was not
}

// ProbeResult is what became of the probes.
type ProbeResult struct {
	Accepted  Latency // until ingestion answered 202
	Queryable Latency // until a query found it
	Live      Latency // until a live message counted it
	Sent      int64
	Refused   int64 // told to come again later (503)
	Failed    int64 // any other answer, or none
	Missing   int64 // accepted, and not to be found within two minutes
	FirstNo   time.Time
	All       []LiveProbe // the accepted ones, by when they were due
	Failure   error       // the first of those that failed
}

// Probe begins to send probes.
func (r *Rig) Probe(ctx context.Context, perSecond float64) (*Probes, error) {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &Probes{
		rig: r, rate: perSecond, cancel: cancel, stop: make(chan struct{}), waiting: map[event.UUID]time.Time{},
		// A connection for each that waits, when many do.
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
		result: ProbeResult{Accepted: NewLatency(), Queryable: NewLatency(), Live: NewLatency()},
	}
	began, ended := make(chan struct{}), make(chan error, 1)
	p.began = sync.OnceFunc(func() { close(began) })
	feed := live.New(r.Program(API).URL, live.Options{Want: live.Subscription{Metrics: true}})
	p.working.Go(func() { ended <- feed.Run(working, p.hear) })
	select {
	case <-began:
	case err := <-ended:
		cancel()
		return nil, err
	case <-ctx.Done():
		cancel()
		p.working.Wait()
		return nil, ctx.Err()
	}
	p.start = time.Now()
	p.working.Go(func() { p.look(working) })
	p.sending.Go(func() { p.send(working) })
	return p, nil
}

// Stop ends the sending, and returns once every accepted probe was found, or ctx ends.
func (p *Probes) Stop(ctx context.Context) ProbeResult {
	close(p.stop)
	p.sending.Wait()
	deadline := time.After(giveUp)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			waiting = false
		case <-deadline:
			waiting = false
		case <-tick.C:
			p.mu.Lock()
			waiting = len(p.waiting) > 0
			p.mu.Unlock()
		}
	}
	// The live feed is at most its interval behind the commit.
	for start := time.Now(); time.Since(start) < unheard && !p.heard() && ctx.Err() == nil; {
		<-tick.C
	}
	p.cancel()
	p.working.Wait()
	p.client.CloseIdleConnections()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result.Missing = int64(len(p.waiting))
	for _, s := range p.all {
		if !s.Accepted.IsZero() {
			p.result.All = append(p.result.All, *s)
		}
	}
	slices.SortFunc(p.result.All, func(a, b LiveProbe) int { return a.Due.Compare(b.Due) })
	for _, since := range p.waiting {
		p.result.Queryable.Record(time.Since(since)) // at least that
	}
	p.count(time.Now()) // at least that
	return p.result
}

func (p *Probes) heard() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.live {
		if len(l) > 0 {
			return false
		}
	}
	return true
}

// send sends when each is due, and waits for no answer.
func (p *Probes) send(ctx context.Context) {
	for k := 0; ; k++ {
		due := p.start.Add(time.Duration(float64(k) / p.rate * float64(time.Second)))
		select {
		case <-p.stop:
			return
		case <-p.rig.Failed.Done():
			return
		case <-time.After(time.Until(due)):
		}
		p.sending.Go(func() { p.one(ctx, k%probeTypes, due) })
	}
}

func (p *Probes) one(ctx context.Context, kind int, due time.Time) {
	id := event.NewID(due)
	body := fmt.Sprintf(`{"id":%q,"time":%q,"type":%q,"user_id":"probe"}`, id, due.UTC().Format("2006-01-02T15:04:05.000000Z"), probeType(kind))
	p.mu.Lock()
	p.result.Sent++
	// Before the answer: the database and the live feed may be faster.
	p.waiting[id] = due
	s := &LiveProbe{Type: probeType(kind), Due: due}
	p.all, p.live[kind] = append(p.all, s), append(p.live[kind], s)
	p.mu.Unlock()
	status, err := p.post(ctx, body)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if status == http.StatusAccepted {
		s.Accepted = now
		p.result.Accepted.Record(now.Sub(due))
		p.rig.ledger.probe(id, true)
		return
	}
	delete(p.waiting, id)
	p.unhear(kind, s)
	if status == http.StatusServiceUnavailable {
		if p.result.Refused++; p.result.FirstNo.IsZero() {
			p.result.FirstNo = time.Now()
		}
		p.rig.ledger.probe(id, false) // its answer may be "unconfirmed"
		return
	}
	if p.result.Failed++; p.result.Failure == nil {
		p.result.Failure = errors.Join(err, fmt.Errorf("a probe was answered with status %d", status))
	}
	p.rig.ledger.probe(id, false)
}

func (p *Probes) post(ctx context.Context, body string) (status int, err error) {
	program := p.rig.Program(Ingestion)
	if program == nil {
		return 0, errors.New("ingestion does not run")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, program.URL+"/v1/events", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Write-Key", ProbeSource)
	answer, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// look asks the database for what is missing, again and again.
func (p *Probes) look(ctx context.Context) {
	tick := time.NewTimer(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.found(ctx)
		tick.Reset(look)
	}
}

func (p *Probes) found(ctx context.Context) {
	p.mu.Lock()
	var ids []event.UUID
	oldest := time.Now()
	for id, due := range p.waiting {
		ids = append(ids, id)
		if due.Before(oldest) {
			oldest = due
		}
	}
	p.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	rows, err := p.rig.Pool.Query(ctx, `SELECT id FROM events WHERE id = ANY($1::uuid[]) AND time >= $2`, uuids(ids), oldest.Add(-time.Second))
	if err != nil {
		return // away, or ended: asked again, and counted as time
	}
	defer rows.Close()
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for rows.Next() {
		var id [16]byte
		if rows.Scan(&id) != nil {
			return
		}
		if due, ok := p.waiting[id]; ok {
			p.result.Queryable.Record(now.Sub(due))
			delete(p.waiting, id)
		}
	}
}

func uuids(ids []event.UUID) [][16]byte {
	out := make([][16]byte, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}

// count counts all that the live feed has not told of as if it had now.
func (p *Probes) count(now time.Time) {
	for kind, probes := range p.live {
		for _, s := range probes {
			p.result.Live.Record(now.Sub(s.Due))
		}
		p.live[kind] = nil
	}
}

// hear counts the probes in the live feed. A snapshot does not tell which are in it: all
// count that were waited for, so that an outage of the feed is not left out.
func (p *Probes) hear(m live.Message) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m := m.(type) {
	case live.Snapshot:
		p.count(now)
		p.began()
	case live.Delta:
		for _, counted := range m.Minutes {
			kind, ok := probeKind(counted.Type)
			if !ok {
				continue
			}
			for range min(int(counted.Events), len(p.live[kind])) {
				p.result.Live.Record(now.Sub(p.live[kind][0].Due))
				p.live[kind] = p.live[kind][1:]
			}
		}
	}
}

func (p *Probes) unhear(kind int, s *LiveProbe) {
	p.live[kind] = slices.DeleteFunc(p.live[kind], func(o *LiveProbe) bool { return o == s })
}

func probeType(kind int) string { return fmt.Sprintf("probe.%d", kind) }

// probeKind reads the type of a probe.
func probeKind(eventType string) (kind int, ok bool) {
	number, ok := strings.CutPrefix(eventType, "probe.")
	if !ok {
		return 0, false
	}
	kind, err := strconv.Atoi(number)
	return kind, err == nil && kind >= 0 && kind < probeTypes
}
