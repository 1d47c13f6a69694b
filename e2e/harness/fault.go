package harness

import (
	"context"
	"errors"
	"fmt"
)

// Faults for tests. Stop is a clean shutdown that ends open sessions; Kill is SIGKILL,
// what a crash or the OOM killer does; Start, after either, returns once the server
// answers again: at the same address and with its data. Servers given by URL return an
// error that says so. The servers are shared: a test that faults them starts its own.

// StopPostgres shuts PostgreSQL down.
func (s *Servers) StopPostgres(ctx context.Context) error {
	return wrap("stop PostgreSQL", s.postgres.stop(ctx))
}

// KillPostgres ends PostgreSQL with SIGKILL.
func (s *Servers) KillPostgres(ctx context.Context) error {
	return wrap("kill PostgreSQL", s.postgres.kill(ctx))
}

// StartPostgres brings PostgreSQL back after StopPostgres or KillPostgres.
func (s *Servers) StartPostgres(ctx context.Context) error {
	return wrap("start PostgreSQL", s.postgres.start(ctx))
}

// StopRedis shuts Redis down.
func (s *Servers) StopRedis(ctx context.Context) error { return wrap("stop Redis", s.redis.stop(ctx)) }

// KillRedis ends Redis with SIGKILL.
func (s *Servers) KillRedis(ctx context.Context) error { return wrap("kill Redis", s.redis.kill(ctx)) }

// StartRedis brings Redis back after StopRedis or KillRedis.
func (s *Servers) StartRedis(ctx context.Context) error {
	return wrap("start Redis", s.redis.start(ctx))
}

// SmallDisk returns a directory of PostgreSQL's machine that anybody may write to, and
// that is on a disk of 64 MiB of its own: for tests that fill it. Only a container has
// one, and loses what is on it with StopPostgres and KillPostgres.
func (s *Servers) SmallDisk() (dir string, err error) {
	if _, ok := s.postgres.(*container); !ok {
		return "", errors.New("PostgreSQL has no small disk: it does not run in a container")
	}
	return smallDiskDir, nil
}

func wrap(operation string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}
