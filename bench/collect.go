package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
)

type collectOptions struct {
	common
	events, requests, batch, connections, runs int
	profile                                    string
}

func (o *collectOptions) register(flags *flag.FlagSet) {
	o.common.register(flags)
	flags.IntVar(&o.events, "events", 300_000, "events of one run in batches")
	flags.IntVar(&o.requests, "requests", 60_000, "requests of one run with single events")
	flags.IntVar(&o.batch, "batch", 100, "events of a batch")
	flags.IntVar(&o.connections, "connections", 64, "clients that send at the same time, each waiting for its answer")
	flags.IntVar(&o.runs, "runs", 5, "runs; the median counts")
	flags.StringVar(&o.profile, "cpuprofile", "", "`file` to write ingestion's CPU profile of the first runs to")
}

// collect sends events to the collector from this process, over connections that stay
// open, and checks that Redis has every one.
func collect(ctx context.Context, flags *flag.FlagSet, o collectOptions, out io.Writer) error {
	if min(o.events, o.requests, o.batch, o.connections, o.runs) < 1 {
		return wrongUsage("-events, -requests, -batch, -connections and -runs must be at least 1")
	}
	return conduct(ctx, flags, o.common, out, func(ctx context.Context, x *experiment) (err error) {
		i, err := startIngestion(ctx, x)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, i.Close()) }()
		address := strings.TrimPrefix(i.URL, "http://")
		payloads, err := makeUp(max(o.events, o.requests))
		if err != nil {
			return err
		}
		batches, singles := requests(address, payloads[:o.events], o.batch), requests(address, payloads[:o.requests], 1)

		profiled := i.profiled(ctx, o.profile, 10, x)
		measure := func(prefix, per string, unit report.Unit, requests [][]byte, events int) error {
			_, before := rig.Peak(i.PID())
			redisBefore := i.redisCPU(ctx)
			start := time.Now()
			if err := send(ctx, address, requests, o.connections); err != nil {
				return err
			}
			took := time.Since(start).Seconds()
			_, after := rig.Peak(i.PID())
			x.Add(prefix+"_per_second", unit, report.More, float64(events)/took)
			x.Add(prefix+"_ingestion_cpu_us_per_"+per, report.Microseconds, report.Less, (after-before)*1e6/float64(events))
			x.Add(prefix+"_redis_cpu_us_per_"+per, report.Microseconds, report.Less, (i.redisCPU(ctx)-redisBefore)*1e6/float64(events))
			n, err := i.empty(ctx)
			if err == nil && n != int64(events) {
				x.Invalidate("%d events were accepted, and Redis has %d", events, n)
			}
			return err
		}
		for run := range o.runs {
			x.status("run %d of %d", run+1, o.runs)
			if err := measure("batched_events", "event", report.EventsPerSecond, batches, o.events); err != nil {
				return err
			}
			if err := measure("single_requests", "request", report.RequestsPerSecond, singles, o.requests); err != nil {
				return err
			}
		}
		<-profiled
		memory, _ := rig.Peak(i.PID())
		x.Add("ingestion_max_rss_bytes", report.Bytes, report.Less, float64(memory))
		return nil
	})
}

// requests writes out HTTP requests with so many events each.
func requests(host string, payloads []string, size int) (out [][]byte) {
	for len(payloads) > 0 {
		n := min(size, len(payloads))
		body := payloads[0]
		if size > 1 {
			body = "[" + strings.Join(payloads[:n], ",") + "]"
		}
		out = append(out, fmt.Appendf(nil, "POST /v1/events HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-Write-Key: bench\r\nContent-Length: %d\r\n\r\n%s", host, len(body), body))
		payloads = payloads[n:]
	}
	return out
}

// send sends each request once. Each connection waits for an answer before the next
// request. The client is bare, so that little of the machine is spent on it.
func send(ctx context.Context, address string, requests [][]byte, connections int) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range connections {
		group.Go(func() error {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err != nil {
				return err
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			answers := bufio.NewReaderSize(conn, 16<<10)
			for {
				n := next.Add(1) - 1
				if n >= int64(len(requests)) || ctx.Err() != nil {
					return ctx.Err()
				}
				if _, err := conn.Write(requests[n]); err != nil {
					return err
				}
				if err := accepted(answers); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// accepted reads one answer, which must be 202 with nothing rejected.
func accepted(answers *bufio.Reader) error {
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("answered %s: %s", answer.Status, text)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
