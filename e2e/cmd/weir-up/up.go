package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"weir/e2e/harness"
	"weir/migrations"
)

// defaults are what this machine's Weir runs with unless the environment says
// otherwise: logs for people, and a little traffic to look at.
var defaults = [][2]string{
	{"LOG_FORMAT", "text"},
	{"GENERATOR_RATE", "200"},
}

// stopTimeout is a little more than SHUTDOWN_GRACE's default.
const stopTimeout = 20 * time.Second

// up starts everything, says where it is, waits for ctx to end, and stops
// everything in the order of the flow: what produces first, so that the rest can
// empty its hands.
func up(ctx context.Context, getenv func(string) string, console *console) (err error) {
	began := time.Now()
	servers, err := harness.Start(ctx, harness.Options{Getenv: getenv, Log: func(format string, args ...any) {
		console.say(fmt.Sprintf(format, args...))
	}})
	if err != nil {
		return calledOff(ctx, err)
	}
	defer func() {
		console.say("stopping the servers that were started")
		err = errors.Join(err, servers.Close())
	}()
	console.say("servers: " + servers.Chosen)

	version, err := migrations.Up(ctx, servers.PostgresURL)
	if err != nil {
		return calledOff(ctx, err)
	}
	console.say(fmt.Sprintf("schema: version %d", version))

	dir, err := os.MkdirTemp("", "weir-up-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	binaries, err := harness.Build(ctx, dir)
	if err != nil {
		return calledOff(ctx, err)
	}

	env := []string{"REDIS_URL=" + servers.RedisURL, "POSTGRES_URL=" + servers.PostgresURL}
	for _, d := range defaults {
		if getenv(d[0]) == "" {
			env = append(env, d[0]+"="+d[1])
		}
	}
	var programs []*harness.Program // in the order of starting, which is against the flow
	defer func() {
		for i := len(programs) - 1; i >= 0; i-- {
			err = errors.Join(err, stop(programs[i], console))
		}
	}()
	died := make(chan *harness.Program, 3)
	for _, name := range []string{"weir-api", "weir-consumer", "weir-ingestion"} {
		starting, cancel := context.WithTimeout(ctx, time.Minute)
		p, err := binaries.Start(starting, name, env, console.writer(name))
		cancel()
		if err != nil {
			return calledOff(ctx, err)
		}
		programs = append(programs, p)
		go func() {
			<-p.Exited()
			died <- p
		}()
	}

	api, consumer, ingestion := programs[0].URL, programs[1].URL, programs[2].URL
	console.say(fmt.Sprintf(`Weir is up after %.1f s. Ctrl-C stops everything.

    api        %s   (documentation: %[2]s/docs)
    ingestion  %s   (documentation: %[3]s/docs)
    consumer   %s   (documentation: %[4]s/docs)
    Redis      %s
    PostgreSQL %s
`, time.Since(began).Seconds(), api, ingestion, consumer, servers.RedisURL, servers.PostgresURL))

	select {
	case <-ctx.Done():
		console.say("stopping")
		return nil
	case p := <-died:
		return fmt.Errorf("%s ended by itself (exit code %d): its last lines above say why", p.Name, p.ExitCode())
	}
}

func stop(p *harness.Program, console *console) error {
	select {
	case <-p.Exited():
		return nil // that was said already
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	console.say("stopping " + p.Name)
	return p.Stop(ctx)
}

// calledOff returns nil for an error that is only the consequence of Ctrl-C. That something
// was not cleaned up is none.
func calledOff(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, harness.ErrCleanUp) {
		return nil
	}
	return err
}
