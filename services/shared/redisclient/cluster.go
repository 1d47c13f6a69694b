package redisclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis Cluster: what the services keep in Redis is either one key (a live-feed ticket)
// or belongs to one partition of the stream, whose key has a hash tag. So each command,
// script and pipeline is about one key at a time, and go-redis finds the node; nothing
// needs two keys in one slot. Two things it cannot know, and are here: which node's
// clock stamps a partition's entries, and that a command without a key, such as WAIT, is
// about the one before it.

// split takes an address apart into that of the first node and of all nodes. Only a
// cluster's has several.
func split(address string) (first string, nodes []string) {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		return address, nil
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	user := ""
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		user, authority = authority[:i+1], authority[i+1:]
	}
	list := strings.Split(authority, ",")
	if len(list) == 1 {
		return address, nil
	}
	return scheme + "://" + user + strings.TrimSpace(list[0]) + path, list
}

// clusterOptions are those of a single server, for each node of a cluster.
func clusterOptions(o *redis.Options, nodes []string) (*redis.ClusterOptions, error) {
	if o.DB != 0 {
		return nil, errors.New("REDIS_URL names a database, which a Redis Cluster does not have")
	}
	c := &redis.ClusterOptions{
		Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig, Protocol: o.Protocol,
		DialTimeout: o.DialTimeout, DialerRetries: o.DialerRetries, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		ContextTimeoutEnabled: o.ContextTimeoutEnabled, PoolSize: o.PoolSize,
		MaintNotificationsConfig: o.MaintNotificationsConfig,
		// A node that is gone tells nobody who took its place: go-redis would go on asking it
		// for a minute.
		ClusterStateReloadInterval: 2 * time.Second,
		// A PING that any node answers is enough: one that is away is replaced by its replica.
		DisableRoutingPolicies: true,
	}
	for _, node := range nodes {
		u, err := url.Parse("redis://" + strings.TrimSpace(node))
		if err != nil || u.Hostname() == "" || u.Path != "" {
			return nil, errors.New("REDIS_URL must look like redis://[user:password@]host:port,host:port")
		}
		port := u.Port()
		if port == "" {
			port = "6379"
		}
		c.Addrs = append(c.Addrs, net.JoinHostPort(u.Hostname(), port))
	}
	return c, nil
}

// Node returns a client of the server that has the key now: the client itself unless it
// is a cluster's. After an error of what it returns, call Moved.
func Node(ctx context.Context, client redis.UniversalClient, key string) (redis.UniversalClient, error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return client, nil
	}
	node, err := cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("find the node of %s: %w", key, err)
	}
	return node, nil
}

// Moved has a cluster's client look which node has what: one may have failed, or given
// its keys to another. It does nothing for a single server's.
func Moved(ctx context.Context, client redis.UniversalClient) {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

// Each calls fn with a client of every server that has keys, at the same time, and
// returns the first error.
func Each(ctx context.Context, client redis.UniversalClient, fn func(context.Context, redis.UniversalClient) error) error {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return fn(ctx, client)
	}
	return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return fn(ctx, node) })
}
