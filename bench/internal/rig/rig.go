// Package rig is what the benchmark measures on: Weir's three services and the
// generator, each a process of its own, on real servers; and what it measures with:
// samples of what every process uses, probes that are followed from an HTTP request to
// the database and the live feed, and a ledger of every event's id.
package rig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"weir/bench/internal/report"
	"weir/e2e/harness"
	"weir/e2e/harness/defaults"
	"weir/migrations"
	"weir/services/shared/redisclient"
)

// Options say what to start.
type Options struct {
	Name       string   // of the sandbox
	Consumers  int      // default 1
	Partitions int      // streams, default 1
	Settings   []string // NAME=VALUE, for every service
	// Faults keeps to addresses that survive a restart of the servers, and lets the
	// services and servers be away for a while.
	Faults bool
	// Patience is how long Redis may be silent, and the consumer unable to write, until
	// the run is given up; with Faults that is part of it. Default: 15 s.
	Patience time.Duration
	Log      func(format string, args ...any)

	// Servers and Binaries, when they are there already: they are used, and left as they are.
	Servers  *harness.Servers
	Binaries harness.Binaries
}

// Rig is the running system.
type Rig struct {
	Servers  *harness.Servers
	Box      *harness.Sandbox
	Redis    redis.UniversalClient
	Pool     *pgxpool.Pool
	Versions report.Versions
	Failed   context.Context // ends, with the cause, when a part of the system ended by itself

	options  Options
	binaries harness.Binaries
	env      []string
	fail     context.CancelCauseFunc
	close    []func() error

	mu       sync.Mutex
	programs map[string]*harness.Program
	ledger   ledger
	sampler  *sampler
	working  sync.WaitGroup
}

// The names of the processes. There may be several consumers: consumer, consumer-2, ...
const (
	Ingestion = "ingestion" // takes the probes over HTTP
	Generator = "generator" // an ingestion that makes the load up
	Consumer  = "consumer"
	API       = "api"
	Redis     = "redis"
	Postgres  = "postgres"
)

// Start starts the servers, the schema and all services. What was started before an
// error is stopped.
func Start(ctx context.Context, o Options) (r *Rig, err error) {
	o.Consumers, o.Partitions = max(o.Consumers, 1), max(o.Partitions, 1)
	o.Patience = cmp.Or(o.Patience, 15*time.Second)
	r = &Rig{options: o, programs: map[string]*harness.Program{}}
	r.Failed, r.fail = context.WithCancelCause(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
			r = nil
		}
	}()
	if err := r.prepare(ctx); err != nil {
		return r, err
	}
	for i := range o.Consumers {
		if err := r.StartProgram(ctx, ConsumerName(i)); err != nil {
			return r, err
		}
	}
	for _, name := range []string{Ingestion, Generator, API} {
		if err := r.StartProgram(ctx, name); err != nil {
			return r, err
		}
	}
	r.sampler = newSampler(r)
	sampling, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.working.Go(func() { r.sampler.run(sampling) })
	r.close = append(r.close, func() error { stop(); r.working.Wait(); return nil })
	return r, nil
}

func (r *Rig) prepare(ctx context.Context) (err error) {
	o := r.options
	if r.Servers = o.Servers; r.Servers == nil {
		r.Servers, err = harness.Start(ctx, harness.Options{Log: o.Log, Direct: !o.Faults})
		if err != nil {
			return err
		}
		r.close = append(r.close, r.Servers.Close)
	}
	if r.Box, err = r.Servers.Sandbox(ctx, o.Name); err != nil {
		return err
	}
	r.close = append(r.close, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return r.Box.Close(ctx)
	})
	if _, err = migrations.Up(ctx, r.Box.PostgresURL); err != nil {
		return err
	}
	if r.Redis, err = redisclient.New(redisclient.Config{URL: r.Box.RedisURL}); err != nil {
		return err
	}
	r.close = append(r.close, r.Redis.Close)
	if r.Pool, err = pgxpool.New(ctx, r.Box.PostgresURL); err != nil {
		return err
	}
	r.close = append(r.close, func() error { r.Pool.Close(); return nil })
	r.Versions.Built()
	if err := LearnVersions(ctx, &r.Versions, r.Redis, r.Pool); err != nil {
		return err
	}
	if r.binaries = o.Binaries; r.binaries == "" {
		if err := r.build(ctx); err != nil {
			return err
		}
	}
	r.env = append([]string{
		"REDIS_URL=" + r.Box.RedisURL, "POSTGRES_URL=" + r.Box.PostgresURL, "STREAM_NAME=" + r.Box.StreamName,
		"STREAM_PARTITIONS=" + strconv.Itoa(o.Partitions), "BIND_HOST=127.0.0.1", "PPROF=true",
		"API_PORT=0", "CONSUMER_PORT=0", "INGESTION_PORT=0", "GENERATOR_RATE=0",
		// One client behaves like thousands; what is measured is not the fairness among them.
		"INGESTION_RATE_LIMIT=0",
	}, o.Settings...)
	return nil
}

func (r *Rig) build(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	r.close = append(r.close, func() error { return os.RemoveAll(dir) })
	if r.options.Log != nil {
		r.options.Log("building the services")
	}
	r.binaries, err = harness.Build(ctx, dir)
	return err
}

// ConsumerName names the i-th consumer, from 0.
func ConsumerName(i int) string {
	if i == 0 {
		return Consumer
	}
	return Consumer + "-" + strconv.Itoa(i+1)
}

// Consumers is how many there are.
func (r *Rig) Consumers() int { return r.options.Consumers }

// StartProgram starts one of the services; a consumer again after StopProgram. One that
// ends by itself from now on is a failure.
func (r *Rig) StartProgram(ctx context.Context, name string) error {
	command := map[string]string{Ingestion: "weir-ingestion", Generator: "weir-ingestion", API: "weir-api"}[name]
	env := defaults.Settings()
	if command == "" {
		command, env = "weir-consumer", append(env, "CONSUMER_NAME=bench-"+name)
	}
	starting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	p, err := r.binaries.Start(starting, command, append(env, r.env...), io.Discard)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.programs[name] = p
	r.mu.Unlock()
	r.working.Go(func() {
		<-p.Exited()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.programs[name] == p {
			r.fail(fmt.Errorf("%s ended by itself (exit code %d):\n%s", name, p.ExitCode(), p.Said()))
		}
	})
	return nil
}

// Program returns a service, for signals and addresses; nil when it is stopped.
func (r *Rig) Program(name string) *harness.Program {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.programs[name]
}

// release takes a service out of those that must not end.
func (r *Rig) release(name string) *harness.Program {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.programs[name]
	delete(r.programs, name)
	return p
}

// KillProgram ends a service with SIGKILL.
func (r *Rig) KillProgram(name string) {
	if p := r.release(name); p != nil {
		p.Kill()
	}
}

// StopProgram asks a service to stop and waits for its end; one that does not come to
// it within 30 s is killed, and an error.
func (r *Rig) StopProgram(ctx context.Context, name string) error {
	p := r.release(name)
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return p.Stop(ctx)
}

// Close stops what was started, the last first.
func (r *Rig) Close() (err error) {
	ctx := context.Background()
	for _, name := range []string{Generator, Ingestion, API} {
		r.KillProgram(name)
	}
	for i := range r.options.Consumers {
		// Cleanly, so that a mistake in stopping shows; frozen ones are woken.
		name := ConsumerName(i)
		if p := r.Program(name); p != nil {
			_ = p.Signal(wake)
		}
		err = errors.Join(err, r.StopProgram(ctx, name))
	}
	for n := len(r.close) - 1; n >= 0; n-- {
		err = errors.Join(err, r.close[n]())
	}
	r.working.Wait()
	r.fail(nil)
	return harness.CleanUp(err)
}

// Watch returns a context that also ends, with its cause, when a part of the system does.
func (r *Rig) Watch(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.Failed, func() { cancel(context.Cause(r.Failed)) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}

func (r *Rig) binary(name string) string { return filepath.Join(string(r.binaries), name) }

// LearnVersions asks the servers for theirs; without a pool only Redis.
func LearnVersions(ctx context.Context, v *report.Versions, client redis.UniversalClient, pool *pgxpool.Pool) error {
	v.Redis = info(ctx, client, "server", "redis_version")
	if pool == nil {
		return nil
	}
	err := pool.QueryRow(ctx, `SELECT current_setting('server_version'), extversion || ' ' || current_setting('timescaledb.license')
		FROM pg_extension WHERE extname = 'timescaledb'`).Scan(&v.PostgreSQL, &v.TimescaleDB)
	if err != nil {
		return fmt.Errorf("ask PostgreSQL for its version: %w", err)
	}
	return nil
}
