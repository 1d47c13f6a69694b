package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/shirou/gopsutil/v4/mem"
)

// initdbArgs are the same in every way of running PostgreSQL, so that text sorts the
// same. Only the empty cluster is left unsynced; the server itself syncs.
const initdbArgs = "--encoding=UTF8 --locale=C --no-sync"

// SIGINT stops PostgreSQL and ends its sessions; SIGTERM would wait for the clients to
// leave, and the pools of a test never do.
var postgresProduct = product{
	name:    "PostgreSQL with TimescaleDB",
	urlVar:  "POSTGRES_URL",
	port:    5432,
	process: "postgres",
	url: func(address, password string) string {
		return "postgres://postgres:" + password + "@" + address + "/postgres?sslmode=disable"
	},
	ping: pingPostgres,

	imageVar: "WEIR_TIMESCALEDB_IMAGE",
	image:    "timescale/timescaledb:2.29.2-pg17",
	official: func(password string) recipe {
		return recipe{
			tmpfs: smallDisk,
			env: map[string]string{
				"POSTGRES_PASSWORD":    password,
				"POSTGRES_INITDB_ARGS": initdbArgs,
				"NO_TS_TUNE":           "true", // the settings below are ours
			},
			cmd:        append([]string{"postgres"}, postgresSettings()...),
			stopSignal: "SIGINT",
		}
	},
	debian: func(password string) recipe {
		return recipe{
			user:       "postgres",
			volume:     "/var/lib/postgresql",
			tmpfs:      smallDisk,
			env:        map[string]string{"PGDATA": "/var/lib/postgresql/weir", "PASSWORD": password},
			entrypoint: []string{"/bin/sh", "-ec", debianPostgres, "postgres"},
			cmd:        append(postgresSettings(), "-c", "listen_addresses=*", "-c", "unix_socket_directories="),
			stopSignal: "SIGINT",
		}
	},

	find:    findPostgres,
	prepare: initPostgres,
	command: func(p *process) *exec.Cmd {
		return exec.Command(p.binary, append(postgresSettings(), "-D", filepath.Join(p.dir, "data"),
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p", strconv.Itoa(p.port))...)
	},
	stopSignal: syscall.SIGINT,
}

// smallDiskDir is where a container of PostgreSQL has smallDisk, which takes no memory
// until a test fills it.
const smallDiskDir = "/small"

var smallDisk = map[string]string{smallDiskDir: "size=64m,mode=1777"}

// debianPostgres makes the cluster at the first start and then becomes the server.
// A half-made cluster is made again: a whole one appears by one rename.
const debianPostgres = `
if [ ! -d "$PGDATA" ]; then
	rm -rf "$PGDATA.new" && printf %s "$PASSWORD" > /tmp/password
	initdb -D "$PGDATA.new" -U postgres --auth=scram-sha-256 --pwfile=/tmp/password ` + initdbArgs + `
	echo 'host all all all scram-sha-256' >> "$PGDATA.new/pg_hba.conf"
	rm /tmp/password && mv "$PGDATA.new" "$PGDATA"
fi
exec postgres "$@"
`

// postgresSettings are the same in every way of running PostgreSQL. fsync and
// synchronous_commit stay on: the consumer acknowledges on the commit's word.
func postgresSettings() []string {
	settings := []string{
		"shared_preload_libraries=timescaledb",
		"timescaledb.telemetry_level=off",
		"max_connections=400", // tests run side by side, each with its pools
		fmt.Sprintf("shared_buffers=%dMB", sharedBuffers()>>20),
		"max_wal_size=8GB", // these three so that checkpoints do not hold up commits
		"backend_flush_after=2MB",
		"checkpoint_timeout=15min",
		// And so that writers find pages that are free: 4,000 a second are filled at 100,000
		// events/s, and the background writer clears away 500 by default.
		"bgwriter_delay=50ms",
		"bgwriter_lru_maxpages=1000",
		// A new server fills each WAL file with zeros before it writes to it, 40% of what it
		// puts to disk (at 90,000 events/s); one that has run for a while uses old files again.
		"wal_init_zero=off",
		// Each database with TimescaleDB has a scheduler, and each sandbox is a database.
		"max_worker_processes=48",
		"timescaledb.max_background_workers=32",
	}
	var args []string
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// sharedBuffers is a quarter of the memory, as PostgreSQL's manual advises for a server of
// its own, up to 4 GiB, in bytes. What is not used takes no memory. With 512 MB, writers
// had to make room first: at 100,000 events/s PostgreSQL put 64 MiB/s to disk instead of 44.
func sharedBuffers() uint64 {
	const least, most = 512 << 20, 4 << 30
	m, err := mem.VirtualMemory()
	if err != nil {
		return least
	}
	return min(max(m.Total/4, least), most)
}

func pingPostgres(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
		return fmt.Errorf("query PostgreSQL: %w", err)
	}
	return nil
}

// initPostgres makes a cluster below p.dir, as the user that will run the server.
func initPostgres(ctx context.Context, p *process) error {
	password := filepath.Join(p.dir, "password")
	if err := os.WriteFile(password, []byte(p.password), 0o600); err != nil {
		return fmt.Errorf("write password file: %w", err)
	}
	defer os.Remove(password)
	if err := p.own(password); err != nil {
		return err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(filepath.Dir(p.binary), "initdb"), append(
		[]string{"-D", filepath.Join(p.dir, "data"), "-U", "postgres", "--auth=scram-sha-256", "--pwfile", password},
		strings.Fields(initdbArgs)...)...)
	initdb.SysProcAttr, initdb.Dir = p.attributes(), p.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, tail(out))
	}
	return nil
}
