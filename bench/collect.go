package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

type collectOptions struct {
	events, requests, batch, connections, runs int
	json, profile                              string
}

// collected is how fast the collector takes events over HTTP.
type collected struct {
	Schema      int     `json:"schema_version"`
	Command     string  `json:"command"`
	Machine     machine `json:"machine"`
	Servers     string  `json:"servers"`
	Batch       int     `json:"batch"`
	Connections int     `json:"connections"`
	Batches     rate    `json:"batched_events_per_second"`
	Singles     rate    `json:"single_requests_per_second"`
	BatchCost   cost    `json:"cost_per_batched_event"`
	SingleCost  cost    `json:"cost_per_single_request"`
	MaxRSS      int64   `json:"ingestion_max_rss_bytes"`
}

// cost is CPU time in microseconds.
type cost struct {
	Ingestion float64 `json:"ingestion_cpu_us"`
	Redis     float64 `json:"redis_cpu_us"`
}

// collect sends events to the collector from this process, over connections that stay
// open, and checks that Redis has every one.
func collect(ctx context.Context, o collectOptions, out io.Writer) (err error) {
	i, err := startIngestion(ctx, "collect", out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	f := collected{Schema: 1, Command: "collect", Machine: thisMachine(), Servers: i.servers.Chosen, Batch: o.batch, Connections: o.connections}
	address := strings.TrimPrefix(i.URL, "http://")
	payloads, err := makeUp(max(o.events, o.requests))
	if err != nil {
		return err
	}
	batches, singles := requests(address, payloads[:o.events], o.batch), requests(address, payloads[:o.requests], 1)

	profiled := i.profiled(ctx, o.profile, 10, out)
	measure := func(requests [][]byte, events int) (perSecond float64, c cost, err error) {
		_, before := processUsage(i.PID())
		redisBefore := i.redisCPU(ctx)
		start := time.Now()
		if err := send(ctx, address, requests, o.connections); err != nil {
			return 0, c, err
		}
		took := time.Since(start).Seconds()
		_, after := processUsage(i.PID())
		c = cost{(after - before) * 1e6 / float64(events), (i.redisCPU(ctx) - redisBefore) * 1e6 / float64(events)}
		n, err := i.empty(ctx)
		if err == nil && n != int64(events) {
			err = fmt.Errorf("INVALID: %d events were accepted, and Redis has %d", events, n)
		}
		return float64(events) / took, c, err
	}
	for range o.runs {
		var perSecond float64
		if perSecond, f.BatchCost, err = measure(batches, o.events); err != nil {
			return err
		}
		f.Batches.add(perSecond)
		if perSecond, f.SingleCost, err = measure(singles, o.requests); err != nil {
			return err
		}
		f.Singles.add(perSecond)
		fmt.Fprintf(out, "collected %.0f events/s in batches of %d, %.0f single events/s\n", f.Batches.Runs[len(f.Batches.Runs)-1], o.batch, perSecond)
	}
	<-profiled
	f.MaxRSS, _ = processUsage(i.PID())

	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nmedians of %d runs, %d connections\n", o.runs, o.connections)
	fmt.Fprintf(w, "in batches of %d\t%.0f events/s\t(%.0f to %.0f)\tCPU of ingestion and of Redis %.1f and %.1f µs an event\n", o.batch, f.Batches.Median, f.Batches.Lowest, f.Batches.Best, f.BatchCost.Ingestion, f.BatchCost.Redis)
	fmt.Fprintf(w, "one by one\t%.0f requests/s\t(%.0f to %.0f)\t%.1f and %.1f µs a request\n", f.Singles.Median, f.Singles.Lowest, f.Singles.Best, f.SingleCost.Ingestion, f.SingleCost.Redis)
	fmt.Fprintf(w, "ingestion's memory, most\t%.0f MiB\n", float64(f.MaxRSS)/(1<<20))
	return errors.Join(w.Flush(), writeFigures(o.json, f))
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
		return fmt.Errorf("INVALID: answered %s: %s", answer.Status, text)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
