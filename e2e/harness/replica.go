package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Replica is a hot standby of PostgreSQL, which streams from it.
type Replica struct {
	// PostgresURL is the replica's, with the role, password and maintenance database of
	// the primary.
	PostgresURL string

	server server
}

// StartReplica starts a replica of PostgreSQL in the way that PostgreSQL itself is run,
// and returns once it answers. Whoever starts it closes it, before the servers.
func (s *Servers) StartReplica(ctx context.Context) (*Replica, error) {
	// No image's pg_hba.conf lets anybody replicate from another machine.
	for _, statement := range []string{
		`COPY (SELECT 'host replication all all scram-sha-256') TO PROGRAM 'cat >> pg_hba.conf'`,
		`SELECT pg_reload_conf()`,
	} {
		if err := execute(ctx, s.PostgresURL, statement); err != nil {
			return nil, fmt.Errorf("let replicas in: %w", err)
		}
	}
	server, err := s.startReplica(ctx)
	if err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	return &Replica{PostgresURL: server.url(), server: server}, nil
}

func (s *Servers) startReplica(ctx context.Context) (server, error) {
	switch primary := s.postgres.(type) {
	case *container:
		// A client of its own, which close closes.
		docker, err := connectDocker(ctx, Options{}.withDefaults())
		if err != nil {
			return nil, err
		}
		ip, err := primary.tc.ContainerIP(ctx)
		if err != nil {
			return nil, err
		}
		replica, err := replicaOf(s.PostgresURL, net.JoinHostPort(ip, strconv.Itoa(primary.product.port)))
		if err != nil {
			return nil, err
		}
		return startContainer(ctx, docker, replica, primary.from, false)
	case *process:
		replica, err := replicaOf(s.PostgresURL, net.JoinHostPort("127.0.0.1", strconv.Itoa(primary.port)))
		if err != nil {
			return nil, err
		}
		return startProcess(ctx, replica, primary.binary)
	default:
		return nil, errors.New("the harness makes replicas only of what it runs")
	}
}

// Close ends the replica; its data goes too.
func (r *Replica) Close() error { return r.server.close() }

// Kill ends the replica with SIGKILL.
func (r *Replica) Kill(ctx context.Context) error {
	return wrap("kill the replica", r.server.kill(ctx))
}

// Start brings the replica back after Kill.
func (r *Replica) Start(ctx context.Context) error {
	return wrap("start the replica", r.server.start(ctx))
}

// replicaOf is PostgreSQL as a replica of the one with this URL, which it reaches at an
// address. A data directory that is not there is copied from the primary, else the
// server goes on from it.
func replicaOf(primaryURL, address string) (product, error) {
	primary, err := url.Parse(primaryURL)
	if err != nil {
		return product{}, fmt.Errorf("parse PostgreSQL URL: %w", err)
	}
	from := *primary
	from.Host, from.Path = address, ""
	p := postgresProduct
	p.name = "a replica of PostgreSQL"
	p.url = func(address, _ string) string { // the data has the primary's password
		own := *primary
		own.Host = address
		return own.String()
	}
	inContainer := func(run recipe) recipe {
		run.user = "postgres"
		run.env = map[string]string{"PGDATA": "/tmp/replica", "PRIMARY": from.String()}
		run.entrypoint = []string{"/bin/sh", "-ec", replicaScript, "postgres"}
		run.cmd = append(postgresSettings(), "-c", "listen_addresses=*", "-c", "unix_socket_directories=")
		return run
	}
	official, debian := p.official, p.debian
	p.official = func(password string) recipe { return inContainer(official(password)) }
	p.debian = func(password string) recipe { return inContainer(debian(password)) }
	p.prepare = func(ctx context.Context, s *process) error {
		backup := exec.CommandContext(ctx, filepath.Join(filepath.Dir(s.binary), "pg_basebackup"),
			"-d", from.String(), "-D", filepath.Join(s.dir, "data"), "-R", "-c", "fast", "--no-sync")
		backup.SysProcAttr, backup.Dir = s.attributes(), s.dir
		if out, err := backup.CombinedOutput(); err != nil {
			return fmt.Errorf("pg_basebackup: %w: %s", err, tail(out))
		}
		return nil
	}
	return p, nil
}

const replicaScript = `
if [ ! -d "$PGDATA" ]; then
	rm -rf "$PGDATA.new"
	pg_basebackup -d "$PRIMARY" -D "$PGDATA.new" -R -c fast --no-sync
	mv "$PGDATA.new" "$PGDATA"
fi
exec postgres "$@"
`
