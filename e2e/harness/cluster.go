package harness

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisCluster is a Redis Cluster of three masters with a replica each.
//
// Its servers share one network, that of one container or of this machine: a cluster
// tells its clients the addresses that its nodes have for each other, and here they are
// the same.
type RedisCluster struct {
	// RedisURL is redis://:password@host:port,host:port,... with all nodes.
	RedisURL string

	password string
	nodes    []string // host:port
	run      func(ctx context.Context, command ...string) error
	start    func(ctx context.Context, node int) error
	close    func() error
	killed   int // index of the node
}

const (
	clusterMasters = 3
	// clusterNodeTimeout is after how long a node that is silent is taken for failed.
	clusterNodeTimeout = 2 * time.Second
)

// StartRedisCluster starts a cluster in the ways that Start has, but for the first: one
// that is given is not ours to fault. It returns once all take writes and every master has
// its replica.
func StartRedisCluster(ctx context.Context, o Options) (*RedisCluster, error) {
	o = o.withDefaults()
	var ports []int // below 30000, so that the nodes' own, 10000 above each, exist
	for len(ports) < 2*clusterMasters {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	c := &RedisCluster{password: randomHex(12), close: func() error { return nil }}
	for _, port := range ports {
		c.nodes = append(c.nodes, "127.0.0.1:"+strconv.Itoa(port))
	}
	c.RedisURL = "redis://:" + c.password + "@" + strings.Join(c.nodes, ",")
	err := c.startInContainer(ctx, o, ports)
	if err != nil && ctx.Err() == nil {
		o.Log("containers do not work here (%v); looking for redis-server", err)
		if e := c.startProcesses(ctx, o, ports); e != nil {
			err = errors.Join(err, e)
		} else {
			err = nil
		}
	}
	if err == nil {
		err = c.join(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a Redis Cluster: %w", err), c.close())
	}
	return c, nil
}

// Close ends the cluster; its data goes too.
func (c *RedisCluster) Close() error { return c.close() }

// settings are those of the node at a port. All nodes may have one directory.
func (c *RedisCluster) settings(port int, dir string) []string {
	name := strconv.Itoa(port)
	return append(redisSettings(c.password), "--masterauth", c.password, "--port", name, "--cluster-enabled", "yes",
		"--cluster-node-timeout", strconv.FormatInt(clusterNodeTimeout.Milliseconds(), 10), "--cluster-announce-ip", "127.0.0.1",
		"--dir", dir, "--cluster-config-file", name+".conf", "--dbfilename", name+".rdb", "--appenddirname", "aof-"+name)
}

func (c *RedisCluster) startInContainer(ctx context.Context, o Options, ports []int) error {
	docker, err := connectDocker(ctx, o)
	if err != nil {
		return err
	}
	c.close = docker.Close
	from, err := findImage(ctx, docker, o, redisProduct)
	if err != nil {
		return err
	}
	run, dir := redisProduct.official(c.password), "/data"
	if from.debian {
		run, dir = redisProduct.debian(c.password), "/var/lib/redis"
	}
	// Each server as a child, so that one can be killed and the others go on.
	run.entrypoint = []string{"/bin/sh", "-c"}
	var script strings.Builder
	for _, port := range ports {
		fmt.Fprintf(&script, "redis-server %s &\n", quoted(c.settings(port, dir)))
	}
	run.cmd = []string{script.String() + "wait"}
	same := map[int]int{}
	for _, port := range ports {
		same[port] = port
	}
	tc, err := create(ctx, docker, from, run, same)
	if err != nil {
		return err
	}
	in := &container{product: redisProduct, docker: docker, tc: tc}
	c.close = in.close
	c.run = in.exec
	c.start = func(ctx context.Context, node int) error {
		return in.exec(ctx, append(append([]string{"redis-server"}, c.settings(ports[node], dir)...), "--daemonize", "yes")...)
	}
	return c.answer(ctx, in.alive)
}

func (c *RedisCluster) startProcesses(ctx context.Context, o Options, ports []int) error {
	binary, err := redisProduct.find(o.Getenv)
	if err != nil {
		return err
	}
	cli := filepath.Join(filepath.Dir(binary), "redis-cli")
	c.run = func(ctx context.Context, command ...string) error {
		if command[0] == "redis-cli" {
			command[0] = cli
		}
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", command[0], err, tail(out))
		}
		return err
	}
	var servers []server
	c.start = func(ctx context.Context, node int) error { return servers[node].start(ctx) }
	c.close = func() error { return closeAll(servers) }
	for _, port := range ports {
		node := redisProduct
		node.url = func(string, string) string { return "redis://:" + c.password + "@127.0.0.1:" + strconv.Itoa(port) }
		node.command = func(p *process) *exec.Cmd {
			return exec.Command(p.binary, append(c.settings(port, p.dir), "--bind", "127.0.0.1")...)
		}
		s, err := startProcess(ctx, node, binary)
		if err != nil {
			return err
		}
		servers = append(servers, s)
	}
	return nil
}

// answer waits until all nodes answer.
func (c *RedisCluster) answer(ctx context.Context, alive func(context.Context) error) error {
	for _, node := range c.nodes {
		if _, err := await(ctx, redisProduct, []string{"redis://:" + c.password + "@" + node}, alive); err != nil {
			return err
		}
	}
	return nil
}

// join makes a cluster of the nodes.
func (c *RedisCluster) join(ctx context.Context) error {
	create := append([]string{"redis-cli", "--no-auth-warning", "-a", c.password, "--cluster", "create"}, c.nodes...)
	if err := c.run(ctx, append(create, "--cluster-replicas", "1", "--cluster-yes")...); err != nil {
		return err
	}
	return c.inStep(ctx)
}

// inStep waits until all nodes know the cluster and have what their master has.
func (c *RedisCluster) inStep(ctx context.Context) error {
	return c.await(ctx, func(info map[string]string) bool {
		return info["cluster_state"] == "ok" && info["cluster_known_nodes"] == strconv.Itoa(2*clusterMasters) &&
			(info["role"] == "master" && info["connected_slaves"] == "1" || info["master_link_status"] == "up")
	})
}

// await waits until every node is as it should be.
func (c *RedisCluster) await(ctx context.Context, holds func(info map[string]string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, node := range c.nodes {
		for {
			info, err := c.info(ctx, node)
			if err == nil && holds(info) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for the node at %s: %v: %w", node, info, errors.Join(err, ctx.Err()))
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

// info is what a node says of itself and of the cluster.
func (c *RedisCluster) info(ctx context.Context, node string) (map[string]string, error) {
	client, err := newRedis("redis://:" + c.password + "@" + node)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	cluster, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return nil, err
	}
	replication, err := client.Info(ctx, "replication").Result()
	if err != nil {
		return nil, err
	}
	info := map[string]string{}
	for line := range strings.Lines(cluster + "\r\n" + replication) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			info[name] = value
		}
	}
	return info, nil
}

// KillMasterOf ends the node that has the key with SIGKILL. Its replica takes its place by
// itself.
func (c *RedisCluster) KillMasterOf(ctx context.Context, key string) error {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.nodes, Password: c.password})
	defer client.Close()
	master, err := client.MasterForKey(ctx, key)
	if err != nil {
		return fmt.Errorf("find the node of %s: %w", key, err)
	}
	server, err := master.Info(ctx, "server").Result()
	if err != nil {
		return fmt.Errorf("ask the node of %s: %w", key, err)
	}
	_, rest, _ := strings.Cut(server, "process_id:")
	pid, _, _ := strings.Cut(rest, "\r\n")
	c.killed = slices.Index(c.nodes, master.Options().Addr)
	return wrap("kill the node of "+key, c.run(ctx, "sh", "-c", "kill -9 "+pid))
}

// Restart brings the node that was killed back, as a replica of the one that took its
// place, and returns once it has caught up.
func (c *RedisCluster) Restart(ctx context.Context) error {
	return errors.Join(wrap("start the node again", c.start(ctx, c.killed)), wrap("wait for the cluster", c.inStep(ctx)))
}

// quoted is a command's arguments for a shell.
func quoted(args []string) string {
	var b strings.Builder
	for _, a := range args {
		b.WriteString(" '" + a + "'")
	}
	return b.String()
}
