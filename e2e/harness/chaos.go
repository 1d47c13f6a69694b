package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Fault is something that may happen to a running system.
type Fault struct {
	Name   string
	Weight int // how likely it is, beside the others
	// Happens has it happen, and returns when it has passed.
	Happens func(context.Context) error
}

// Draw draws a fault.
func Draw(random *rand.Rand, faults []Fault) Fault {
	total := 0
	for _, f := range faults {
		total += f.Weight
	}
	drawn := random.IntN(total)
	for _, f := range faults {
		if drawn -= f.Weight; drawn < 0 {
			return f
		}
	}
	panic("unreachable: the weights add up to the total")
}

// While draws a duration: most are short, some long.
func While(random *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(random.ExpFloat64() * float64(mean))
}

// Faults are what happens to the servers themselves, each for about a second. Redis is
// durable again after each, see Durable.
func (s *Servers) Faults(random *rand.Rand, box *Sandbox) []Fault {
	outage := func(down, up func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			if err := down(ctx); err != nil {
				return err
			}
			pause(ctx, While(random, time.Second))
			return up(context.WithoutCancel(ctx)) // whoever gives up now needs it to clear up
		}
	}
	redisUp := func(ctx context.Context) error {
		if err := s.StartRedis(ctx); err != nil {
			return err
		}
		return s.Durable(ctx)
	}
	return []Fault{
		{"PostgreSQL's sessions ended", 3, box.EndSessions},
		{"PostgreSQL restarted", 1, outage(s.StopPostgres, s.StartPostgres)},
		{"PostgreSQL killed", 1, outage(s.KillPostgres, s.StartPostgres)},
		{"Redis restarted", 1, outage(s.StopRedis, redisUp)},
		{"Redis killed", 1, outage(s.KillRedis, redisUp)},
	}
}

// Durable has Redis acknowledge only what is on disk: what it loses in a crash nobody
// can store. It lasts until Redis is started anew.
func (s *Servers) Durable(ctx context.Context) error {
	client, err := newRedis(s.RedisURL)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.ConfigSet(ctx, "appendfsync", "always").Err(); err != nil {
		return fmt.Errorf("make Redis durable: %w", err)
	}
	return nil
}

// EndSessions ends the consumers' sessions in PostgreSQL, as an administrator or a proxy
// would.
func (b *Sandbox) EndSessions(ctx context.Context) error {
	return wrap("end sessions", execute(ctx, b.PostgresURL, `
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'weir-consumer'`))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
