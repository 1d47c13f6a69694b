// Package harness starts or finds the servers that Weir stands on: Redis, and
// PostgreSQL with TimescaleDB. `make up`, the e2e tests and the benchmark all get
// their servers here, in the first of three ways that works:
//
//  1. given:      REDIS_URL and POSTGRES_URL name servers that already run
//  2. containers: the official images, or one built here from Debian packages
//  3. binaries:   redis-server and postgres found on this machine
//
// Read on in the order of the ways: given.go, container.go (with image.go and
// debian.go for where images come from), process.go (with binary.go). redis.go and
// postgres.go say how each server is run, which is the same in all ways. Sandboxes
// and faults are what tests do with the servers once they run.
//
// The package works on Linux and macOS.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Servers are a running Redis and a running PostgreSQL with TimescaleDB.
type Servers struct {
	// RedisURL is redis://..., with the password when there is one.
	RedisURL string
	// PostgresURL is postgres://... of a role that may create databases, and of an
	// existing maintenance database. Servers started here give their superuser.
	PostgresURL string
	// Chosen says in one line how the servers were obtained.
	Chosen string

	redis, postgres server
	close           func() error
}

// Options say how to start; the zero value is ready for use.
type Options struct {
	// Getenv reads the environment, PATH and DOCKER_HOST included. Default: os.Getenv.
	Getenv func(string) string
	// Log takes progress lines, without a newline. Default: they are dropped.
	Log func(format string, args ...any)
	// Direct prefers the containers' own addresses to ports of this machine, where both
	// lead there. For measurements: Docker's proxy between takes CPU time, about 1 µs an
	// event. Such an address may not survive a restart.
	Direct bool
}

func (o Options) withDefaults() Options {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	return o
}

// server is one backing server, in whichever way it is run. After stop or kill,
// start brings it back at the same URL with its data.
type server interface {
	url() string
	stop(ctx context.Context) error
	kill(ctx context.Context) error
	start(ctx context.Context) error
	close() error
	pid(ctx context.Context) int // as this machine sees it; 0 when it does not
}

// Start finds or starts the servers and returns once both answer. A server whose URL
// is given is used; what is missing is started in containers, else from binaries.
// The error, when nothing works, names the three ways and why each failed. A URL
// that is given but does not answer is an error too: nothing else is tried.
func Start(ctx context.Context, o Options) (*Servers, error) {
	o = o.withDefaults()

	found := map[string]server{} // by the product's name
	var missing []product
	var given []string
	for _, p := range []product{redisProduct, postgresProduct} {
		url := o.Getenv(p.urlVar)
		if url == "" {
			missing = append(missing, p)
			continue
		}
		s, err := useGiven(ctx, p, url)
		if err != nil {
			return nil, err
		}
		found[p.name] = s
		given = append(given, p.urlVar)
	}

	var chosen []string
	if len(given) > 0 {
		chosen = append(chosen, "given by "+strings.Join(given, " and "))
	}
	var started []server
	if len(missing) > 0 {
		var how string
		var err error
		started, how, err = startMissing(ctx, o, missing)
		if err != nil {
			return nil, err
		}
		for i, p := range missing {
			found[p.name] = started[i]
		}
		chosen = append(chosen, how)
	}

	redis, postgres := found[redisProduct.name], found[postgresProduct.name]
	servers := &Servers{
		RedisURL:    redis.url(),
		PostgresURL: postgres.url(),
		Chosen:      strings.Join(chosen, "; "),
		redis:       redis,
		postgres:    postgres,
		close:       sync.OnceValue(func() error { return closeAll(started) }),
	}
	o.Log("backing servers: %s", servers.Chosen)
	return servers, nil
}

// Close stops what Start started, and only that. Closing again changes nothing and
// returns the same error.
func (s *Servers) Close() error { return s.close() }

// RedisPID returns the id of Redis' process, for looking at what it uses; 0 when it is
// not a process of this machine, or not ours.
func (s *Servers) RedisPID(ctx context.Context) int { return s.redis.pid(ctx) }

// PostgresPID returns the id of PostgreSQL's first process, which is the parent of all
// others; 0 when it is not a process of this machine, or not ours.
func (s *Servers) PostgresPID(ctx context.Context) int { return s.postgres.pid(ctx) }

// startMissing starts all that is missing in the same way; what it returns is in the
// order of what is missing.
func startMissing(ctx context.Context, o Options, missing []product) ([]server, string, error) {
	started, chosen, errContainers := startContainers(ctx, o, missing)
	if errContainers == nil {
		return started, chosen, nil
	}
	var errBinaries error
	if ctx.Err() == nil {
		o.Log("containers do not work here (%v); looking for server binaries", errContainers)
		if started, chosen, errBinaries = startBinaries(ctx, o, missing); errBinaries == nil {
			return started, chosen, nil
		}
	}
	// A cancelled start is no verdict on the ways. But something may be left of them.
	if ctx.Err() != nil {
		return nil, "", fmt.Errorf("start servers: %w", errors.Join(context.Cause(ctx), errContainers, errBinaries))
	}
	var names, vars []string
	for _, p := range missing {
		names, vars = append(names, p.name), append(vars, p.urlVar)
	}
	return nil, "", fmt.Errorf("start %s: none of the three ways works here:\n"+
		"  1. given: not set: %s\n"+
		"  2. containers: %w\n"+
		"  3. binaries: %w", strings.Join(names, " and "), strings.Join(vars, ", "), errContainers, errBinaries)
}

// startAll starts the products side by side. When one fails, the others are closed again.
func startAll(ctx context.Context, products []product, start func(context.Context, product) (server, error)) ([]server, error) {
	servers := make([]server, len(products))
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range products {
		group.Go(func() error {
			s, err := start(ctx, p)
			if err != nil {
				return fmt.Errorf("start %s: %w", p.name, err)
			}
			servers[i] = s
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, closeAll(servers))
	}
	return servers, nil
}

func closeAll(servers []server) error {
	var errs []error
	for _, s := range servers {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return CleanUp(errors.Join(errs...))
}

// ErrCleanUp is in every error of stopping or removing what was started: something of it
// may be left, whatever other errors are only the consequence of a Ctrl-C.
var ErrCleanUp = errors.New("clean up")

// CleanUp marks an error with ErrCleanUp; nil stays nil.
func CleanUp(err error) error {
	if err == nil || errors.Is(err, ErrCleanUp) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCleanUp, err)
}
