package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"weir/bench/internal/rig"
	"weir/e2e/harness"
	"weir/e2e/harness/defaults"
)

// ingestion is a running weir-ingestion on servers of the benchmark's own choosing.
type ingestion struct {
	*harness.Program
	servers *harness.Servers
	client  redis.UniversalClient
	stream  string
	close   []func() error
}

// startIngestion starts the servers and the service, with nobody consuming: the gate's
// marks are as wide as they go.
func startIngestion(ctx context.Context, x *experiment) (i *ingestion, err error) {
	i = &ingestion{}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	i.servers, err = harness.Start(ctx, harness.Options{Direct: true, Log: x.say})
	if err != nil {
		return i, err
	}
	i.close = append(i.close, i.servers.Close)
	x.Servers = i.servers.Chosen
	box, err := i.servers.Sandbox(ctx, x.Command)
	if err != nil {
		return i, err
	}
	i.close = append(i.close, func() error { return box.Close(context.WithoutCancel(ctx)) })
	options, err := redis.ParseURL(box.RedisURL)
	if err != nil {
		return i, err
	}
	i.stream, i.client = box.StreamName, redis.NewClient(options)
	i.close = append(i.close, i.client.Close)
	if err := rig.LearnVersions(ctx, &x.Versions, i.client, nil); err != nil {
		return i, err
	}
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return i, err
	}
	i.close = append(i.close, func() error { return os.RemoveAll(dir) })
	binaries, err := harness.Build(ctx, dir)
	if err != nil {
		return i, err
	}
	i.Program, err = binaries.Start(ctx, "weir-ingestion", append(defaults.Settings(),
		"REDIS_URL="+box.RedisURL, "STREAM_NAME="+box.StreamName, "INGESTION_PORT=0", "BIND_HOST=127.0.0.1", "PPROF=true",
		"BACKPRESSURE_HIGH_EVENTS=1000000000", "BACKPRESSURE_MAX_MEMORY=8589934592", "GENERATOR_RATE=0",
	), io.Discard)
	if err != nil {
		return i, err
	}
	i.close = append(i.close, func() error { i.Kill(); return nil })
	return i, nil
}

// Close stops what was started, the last first.
func (i *ingestion) Close() (err error) {
	for n := len(i.close) - 1; n >= 0; n-- {
		err = errors.Join(err, i.close[n]())
	}
	return err
}

// empty removes the stream and returns how many entries it had.
func (i *ingestion) empty(ctx context.Context) (int64, error) {
	n, err := i.client.XLen(ctx, i.stream).Result()
	if err != nil {
		return 0, err
	}
	return n, i.client.Del(ctx, i.stream).Err()
}

// redisCPU returns the CPU time that Redis has used, in seconds.
func (i *ingestion) redisCPU(ctx context.Context) float64 {
	return i.info(ctx, "cpu", "used_cpu_sys") + i.info(ctx, "cpu", "used_cpu_user")
}

// redisMemory returns the bytes that Redis uses.
func (i *ingestion) redisMemory(ctx context.Context) float64 {
	return i.info(ctx, "memory", "used_memory")
}

// info returns a number that Redis tells of itself; zero when it does not.
func (i *ingestion) info(ctx context.Context, section, name string) (n float64) {
	text, _ := i.client.Info(ctx, section).Result()
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, _ = strconv.ParseFloat(value, 64)
		}
	}
	return n
}

// profiled writes a CPU profile of the next seconds to a file, if one is named. The
// channel is closed when it is written.
func (i *ingestion) profiled(ctx context.Context, file string, seconds int, x *experiment) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if file == "" {
			return
		}
		if err := fetch(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", i.URL, seconds), file); err != nil {
			x.say("no profile: %v", err)
		}
	}()
	return done
}
