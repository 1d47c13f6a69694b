package rig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/shirou/gopsutil/v4/cpu"

	"weir/bench/internal/report"
	"weir/services/shared/backlog"
	"weir/services/shared/event"
)

// Every is how often samples are taken.
const Every = time.Second

// Sample is the state of the system at one moment.
type Sample struct {
	At      time.Time
	Usage   map[string]Usage // by the process' name; consumers together
	Busy    float64          // CPU seconds of the whole machine, since it was started
	Waiting float64          // of the idle time, what was spent waiting for a disk
	Backlog int64            // events that are not acknowledged
	Age     time.Duration    // of the oldest of them
	Length  int64            // entries of the streams
	Silent  bool             // Redis did not answer
}

type sampler struct {
	rig      *Rig
	accounts map[string]*account
	since    time.Time // when Redis last answered
	writable time.Time // when the consumer could last write

	mu      sync.Mutex
	samples []Sample
}

func newSampler(r *Rig) *sampler {
	s := &sampler{rig: r, accounts: map[string]*account{}, since: time.Now(), writable: time.Now()}
	s.accounts[Redis] = newAccount(r.Servers.RedisPID)
	s.accounts[Postgres] = newAccount(r.Servers.PostgresPID)
	names := []string{Ingestion, Generator, API}
	for i := range r.Consumers() {
		names = append(names, ConsumerName(i))
	}
	for _, name := range names {
		s.accounts[name] = newAccount(func(context.Context) int {
			if p := r.Program(name); p != nil {
				return p.PID()
			}
			return 0
		})
	}
	return s
}

func (s *sampler) run(ctx context.Context) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		s.take(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *sampler) take(ctx context.Context) Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := Sample{At: time.Now(), Usage: map[string]Usage{}}
	for name, a := range s.accounts {
		if strings.HasPrefix(name, Consumer) {
			name = Consumer
		}
		u, more := now.Usage[name], a.read(ctx)
		now.Usage[name] = Usage{u.CPU + more.CPU, u.Memory + more.Memory, u.Read + more.Read, u.Written + more.Written}
	}
	if times, err := cpu.TimesWithContext(ctx, false); err == nil && len(times) == 1 {
		t := times[0]
		now.Busy, now.Waiting = t.User+t.System+t.Nice+t.Irq+t.Softirq+t.Steal, t.Iowait
	}
	asking, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	b, err := s.rig.Backlog(asking)
	now.Backlog, now.Age, now.Length = b.Events, b.Age, b.Length
	if now.Silent = err != nil; !now.Silent {
		s.since = now.At
	}
	if !s.rig.options.Faults && ctx.Err() == nil {
		s.judge(asking, err)
	}
	s.samples = append(s.samples, now)
	return now
}

// judge gives a run up whose servers are gone: the services would wait for them for ever.
func (s *sampler) judge(ctx context.Context, redis error) {
	patience := s.rig.options.Patience
	if time.Since(s.since) > patience {
		s.rig.fail(fmt.Errorf("redis has not answered for %v: %w", patience, redis))
	}
	if open, err := s.rig.Metric(ctx, Consumer, "weir_consumer_breaker_state"); err != nil || open == 0 {
		s.writable = time.Now()
	} else if time.Since(s.writable) > patience {
		s.rig.fail(fmt.Errorf("the consumer has not been able to write to PostgreSQL for %v; it says:\n%s", patience, s.rig.Program(Consumer).Said()))
	}
}

// Sample takes a sample now.
func (r *Rig) Sample(ctx context.Context) Sample { return r.sampler.take(ctx) }

// Samples returns those taken from one moment to another, both inclusive.
func (r *Rig) Samples(from, to time.Time) (out []Sample) {
	r.sampler.mu.Lock()
	defer r.sampler.mu.Unlock()
	for _, s := range r.sampler.samples {
		if !s.At.Before(from) && !s.At.After(to) {
			out = append(out, s)
		}
	}
	return out
}

// Backlog measures what waits for the consumers, in all streams.
func (r *Rig) Backlog(ctx context.Context) (sum backlog.Backlog, err error) {
	for _, stream := range r.streams() {
		b, err := backlog.Measure(ctx, r.Redis, stream, "weir")
		if err != nil {
			return sum, err
		}
		sum.Events, sum.Pending, sum.Length = sum.Events+b.Events, sum.Pending+b.Pending, sum.Length+b.Length
		sum.Age = max(sum.Age, b.Age)
	}
	return sum, nil
}

// StreamSize returns the entries of all streams and the bytes that they take in Redis, each
// stream's of one instant, as consumers remove what they have written. What Redis uses in
// all is no measure of them: it has buffers, and others may use it too.
func (r *Rig) StreamSize(ctx context.Context) (entries, bytes int64, err error) {
	for _, stream := range r.streams() {
		var n, memory *redis.IntCmd
		_, err := r.Redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
			n, memory = p.XLen(ctx, stream), p.MemoryUsage(ctx, stream, 0) // 0: looks at every entry
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return 0, 0, err
		}
		entries, bytes = entries+n.Val(), bytes+memory.Val()
	}
	return entries, bytes, nil
}

func (r *Rig) streams() []string {
	return event.StreamKeys(r.Box.StreamName, r.options.Partitions)
}

// processes in the order in which an event meets them.
var processes = []string{Generator, Ingestion, Redis, Consumer, Postgres, API}

// Resources notes what each process used between two samples, and what an event took
// of it, in a step.
func (r *Rig) Resources(step *report.Step, from, to Sample, events int64) {
	took := to.At.Sub(from.At).Seconds()
	between := r.Samples(from.At, to.At)
	for _, name := range processes {
		a, b := from.Usage[name], to.Usage[name]
		if b.CPU == 0 && b.Memory == 0 {
			continue // not to be seen from here
		}
		step.Add(name+"_cpu_cores", report.Cores, report.Less, (b.CPU-a.CPU)/took)
		if events > 0 {
			step.Add(name+"_cpu_us_per_event", report.Microseconds, report.Less, (b.CPU-a.CPU)*1e6/float64(events))
		}
		most := int64(0)
		for _, s := range between {
			most = max(most, s.Usage[name].Memory)
		}
		step.Add(name+"_max_rss_bytes", report.Bytes, report.Less, float64(most))
		step.Add(name+"_written_bytes_per_second", report.BytesPerSecond, report.Less, float64(b.Written-a.Written)/took)
		step.Add(name+"_read_bytes_per_second", report.BytesPerSecond, report.Less, float64(b.Read-a.Read)/took)
	}
	step.Add("machine_cpu_cores", report.Cores, report.Less, (to.Busy-from.Busy)/took)
	step.Add("machine_waiting_for_disk_cores", report.Cores, report.Less, (to.Waiting-from.Waiting)/took)
}

// Slope is by how much the backlog grew between two moments, in events per second:
// the line that fits the samples best.
func (r *Rig) Slope(from, to time.Time) float64 {
	var at, values []float64
	for _, s := range r.Samples(from, to) {
		if !s.Silent {
			at, values = append(at, s.At.Sub(from).Seconds()), append(values, float64(s.Backlog))
		}
	}
	return Slope(at, values)
}

// Slope is the slope of the line that fits the points best; 0 with fewer than two.
func Slope(x, y []float64) float64 {
	var mx, my, above, below float64
	for i := range x {
		mx, my = mx+x[i]/float64(len(x)), my+y[i]/float64(len(x))
	}
	for i := range x {
		above, below = above+(x[i]-mx)*(y[i]-my), below+(x[i]-mx)*(x[i]-mx)
	}
	if below == 0 {
		return 0
	}
	return above / below
}

// Charts adds the samples of the whole run to the report.
func (r *Rig) Charts(rep *report.Report) {
	samples := r.Samples(time.Time{}, time.Now())
	if len(samples) < 2 {
		return
	}
	samples = slices.DeleteFunc(samples, func(s Sample) bool { return s.Silent })
	series := func(chart, name string, unit report.Unit, value func(i int) float64) {
		s := report.Series{Chart: chart, Name: name, Unit: unit}
		for i := 1; i < len(samples); i++ {
			if samples[i].At.Sub(samples[i-1].At) < Every/4 {
				continue // too short to divide by
			}
			s.Seconds = append(s.Seconds, samples[i].At.Sub(rep.StartedAt).Seconds())
			s.Values = append(s.Values, value(i))
		}
		rep.Series = append(rep.Series, s)
	}
	series("Backlog", "events not yet written", report.Number, func(i int) float64 { return float64(samples[i].Backlog) })
	series("Age of the oldest event not yet written", "age", report.Seconds, func(i int) float64 { return samples[i].Age.Seconds() })
	for _, name := range processes {
		if last := samples[len(samples)-1].Usage[name]; last.CPU == 0 && last.Memory == 0 {
			continue
		}
		series("CPU", name, report.Cores, func(i int) float64 {
			return max(0, samples[i].Usage[name].CPU-samples[i-1].Usage[name].CPU) / samples[i].At.Sub(samples[i-1].At).Seconds()
		})
		series("Memory", name, report.Bytes, func(i int) float64 { return float64(samples[i].Usage[name].Memory) })
		series("Written to disk", name, report.BytesPerSecond, func(i int) float64 {
			return max(0, float64(samples[i].Usage[name].Written-samples[i-1].Usage[name].Written)) / samples[i].At.Sub(samples[i-1].At).Seconds()
		})
	}
}

// info returns what Redis tells of itself.
func info(ctx context.Context, client redis.UniversalClient, section, name string) string {
	text, _ := client.Info(ctx, section).Result()
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

func number(text string) (n float64) {
	n, _ = strconv.ParseFloat(text, 64)
	return n
}
