package harness

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

var redisProduct = product{
	name:    "Redis",
	urlVar:  "REDIS_URL",
	port:    6379,
	process: "redis",
	url:     func(address, password string) string { return "redis://:" + password + "@" + address + "/0" },
	ping:    pingRedis,

	imageVar: "WEIR_REDIS_IMAGE",
	image:    "redis:8.2",
	official: func(password string) recipe {
		return recipe{cmd: append([]string{"redis-server"}, redisSettings(password)...)}
	},
	debian: func(password string) recipe {
		return recipe{
			user:       "redis",
			volume:     "/var/lib/redis",
			entrypoint: []string{"redis-server"},
			cmd:        append(redisSettings(password), "--dir", "/var/lib/redis"),
		}
	},

	find: func(getenv func(string) string) (string, error) { return lookPath(getenv, "redis-server") },
	// Redis lays out its directory itself.
	prepare: func(context.Context, *process) error { return nil },
	command: func(p *process) *exec.Cmd {
		return exec.Command(p.binary, append(redisSettings(p.password),
			"--dir", p.dir, "--bind", "127.0.0.1", "--port", strconv.Itoa(p.port))...)
	},
	stopSignal: syscall.SIGTERM,
}

// redisSettings are the same in every way of running Redis.
func redisSettings(password string) []string {
	return []string{
		"--requirepass", password,
		// What a restart brings back comes from the append-only file; snapshots beside it only cost.
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
		// A stream is one key: evicting it would lose the groups with it.
		"--maxmemory-policy", "noeviction",
		// Larger stream nodes: 1.3 times the rate of XADD with the defaults of 4096 and 100.
		"--stream-node-max-bytes", "16384", "--stream-node-max-entries", "1000",
		// What passes through a stream makes the append-only file grow without end, so Redis
		// writes it anew at every doubling from 64 MiB: five times in a million events, each
		// time in a copy of the process. From 1 GiB on XADD is 1.3 times as fast, and a
		// restart reads some gigabytes at most.
		"--auto-aof-rewrite-min-size", "1gb",
	}
}

func pingRedis(ctx context.Context, url string) error {
	client, err := newRedis(url)
	if err != nil {
		return err
	}
	defer client.Close()
	// go-redis logs every dial that fails, for the whole process and on stderr; while a
	// server starts that is noise. So dial by hand first.
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", client.Options().Addr)
	if err != nil {
		return fmt.Errorf("connect to Redis: %w", err)
	}
	_ = conn.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping Redis at %s: %w", client.Options().Addr, err)
	}
	return nil
}

// newRedis makes a client that tries once: the callers have loops of their own.
func newRedis(url string) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("parse Redis URL: %w", err)
	}
	options.PoolSize = 1
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.ContextTimeoutEnabled = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(options), nil
}
