package e2e

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/migrations"
	"weir/services/consumer"
)

// recovery is the time within which work goes on once a server is back: the longest
// pause between two attempts, the breaker's, and a flush; and some for a busy machine.
const recovery = 7500*time.Millisecond + 2*time.Second + flushTimeout + 15*time.Second

// long reports whether this is the long run that `make chaos` starts.
func long() bool { return os.Getenv(chaosFor) != "" }

// private is a sandbox on servers of the test's own, migrated.
func private(t *testing.T) (*harness.Servers, *harness.Sandbox) {
	t.Helper()
	servers := harness.Private(t)
	box, err := servers.Sandbox(t.Context(), t.Name())
	require.NoError(t, err)
	_, err = migrations.Up(t.Context(), box.PostgresURL)
	require.NoError(t, err)
	return servers, box
}

// TestOutagesInTheMiddleOfAFlushLoseAndDoubleNothing holds a consumer at a step of its
// flush, takes a server away, and lets the consumer go on.
func TestOutagesInTheMiddleOfAFlushLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	servers, box := private(t)
	tr := newTraffic(t, box, harness.Seed(t), untidy)
	pause := flushTimeout + 2*time.Second // the breaker's
	if long() {
		pause = 30 * time.Second
	}
	const copying, counted, committed = "copying", "counted", "committed"
	for _, outage := range []struct {
		name     string
		at       consumer.Step
		down, up func(context.Context) error
	}{
		{"PostgreSQL stopped for a while in mid-COPY", copying, servers.StopPostgres, func(ctx context.Context) error {
			tr.publish(t, 2000) // the backlog waits in the stream
			time.Sleep(pause)
			return servers.StartPostgres(ctx)
		}},
		{"PostgreSQL killed in mid-COPY", copying, servers.KillPostgres, servers.StartPostgres},
		{"PostgreSQL restarted before COMMIT", counted, servers.StopPostgres, servers.StartPostgres},
		{"PostgreSQL restarted after COMMIT", committed, servers.StopPostgres, servers.StartPostgres},
		{"session ended in mid-COPY", copying, box.EndSessions, nil},
		{"session ended before COMMIT", counted, box.EndSessions, nil},
		{"Redis restarted before XACK", committed, servers.StopRedis, servers.StartRedis},
		{"Redis killed before XACK", committed, func(ctx context.Context) error {
			// What it acknowledged is then on disk.
			if err := tr.client.ConfigSet(ctx, "appendfsync", "always").Err(); err != nil {
				return err
			}
			tr.publish(t, 1000)
			return servers.KillRedis(ctx)
		}, servers.StartRedis},
	} {
		tr.publish(t, 1000)
		c := runFaulty(t, box, frozen, outage.at, append(hasty, "BATCH_MAX_EVENTS=500")...)
		c.freezes(t)
		tr.publish(t, 1000)
		require.NoError(t, outage.down(t.Context()), outage.name)
		c.thaws(t)
		if outage.up != nil {
			require.NoError(t, outage.up(t.Context()), outage.name)
		}
		back := time.Now()
		tr.publish(t, 1000)
		tr.check(t, box)
		t.Logf("%s: done %v after it was back", outage.name, time.Since(back).Round(time.Millisecond))
		require.Less(t, time.Since(back), recovery, outage.name)
		stop(t, c.Program)
	}
}

// administer runs statements on a connection of its own, as the database's owner.
func administer(ctx context.Context, box *harness.Sandbox, statements ...string) error {
	conn, err := pgx.Connect(ctx, box.PostgresURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// TestWhatPostgresRefusesToEverybodyIsAnOutageNotPoison has PostgreSQL refuse every
// write, for reasons that are no event's. Nothing is dead-lettered, the breaker opens,
// and when the reason is gone work goes on without anybody's help.
func TestWhatPostgresRefusesToEverybodyIsAnOutageNotPoison(t *testing.T) {
	t.Parallel()
	servers, box := private(t)
	pool := open(t, box)
	database := pool.Config().ConnConfig.Database
	refusals := []refusal{
		{"25006 by the server", []string{`ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`},
			[]string{`SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE`, `ALTER SYSTEM RESET default_transaction_read_only`, `SELECT pg_reload_conf()`}},
		// As after a failover: the sessions begin read-only, and stay so.
		{"25006 by the session", []string{`ALTER DATABASE ` + database + ` SET default_transaction_read_only = on`,
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'weir-consumer'`},
			[]string{`SET default_transaction_read_only = off`, `ALTER DATABASE ` + database + ` RESET default_transaction_read_only`}},
		// An operator cancels what meets some of the events, which are not to blame.
		{"57014", []string{`CREATE FUNCTION cancel() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				IF uuid_hash(NEW.id) % 20 = 0 THEN RAISE query_canceled; END IF;
				RETURN NEW;
			END $$`, `CREATE TRIGGER cancel BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION cancel()`},
			[]string{`DROP TRIGGER cancel ON events`}},
	}
	if dir, err := servers.SmallDisk(); err == nil {
		// What is made from now on is on the small disk, which ballast fills. A program that
		// ended before it was given its row would make COPY fail: cat takes it first.
		require.NoError(t, administer(t.Context(), box, `COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; mkdir -m 700 `+dir+`/tables'`))
		require.NoError(t, administer(t.Context(), box, `CREATE TABLESPACE small LOCATION '`+dir+`/tables'`))
		require.NoError(t, administer(t.Context(), box, `ALTER TABLE rollup_deltas SET TABLESPACE small`,
			`ALTER TABLE dead_letters SET TABLESPACE small`, `ALTER TABLE events SET TABLESPACE small`))
		refusals = append(refusals, refusal{"53100",
			[]string{`COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; dd if=/dev/zero of=` + dir + `/ballast bs=8k 2>&- || true'`},
			[]string{`COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; rm ` + dir + `/ballast'`}})
	} else {
		t.Logf("no disk to fill: %v", err)
	}

	tr := newTraffic(t, box, harness.Seed(t), untidy)
	c, out := runFrom(t, box, binaries(t), "weir-consumer", append(hasty, "BATCH_MAX_EVENTS=500")...)
	tr.publish(t, 1000)
	drained(t, box)
	for _, r := range refusals {
		require.NoError(t, administer(t.Context(), box, r.begin...), r.name)
		tr.publish(t, 4000)
		require.Eventually(t, func() bool { return breaker(t, c) == "open" }, patience, 20*time.Millisecond, r.name)
		require.True(t, out.says("SQLSTATE "+r.name[:5]), "%s: %s", r.name, out)
		stored, dead := number(t, pool, `SELECT count(*) FROM events`), number(t, pool, `SELECT count(*) FROM dead_letters`)
		tr.publish(t, 1000)
		require.Never(t, func() bool { return number(t, pool, `SELECT count(*) FROM dead_letters`) > dead }, time.Second, 100*time.Millisecond, r.name)
		require.Less(t, stored, tr.oracle.Counts().Stored(), "%s: work waits", r.name)

		require.NoError(t, administer(t.Context(), box, r.end...), r.name)
		back := time.Now()
		tr.check(t, box)
		t.Logf("%s: done %v after it was over", r.name, time.Since(back).Round(time.Millisecond))
		require.Less(t, time.Since(back), recovery, r.name)
		require.Equal(t, "closed", breaker(t, c), r.name)
	}
}

// refusal is why PostgreSQL refuses: its SQLSTATE and how it comes about, and the
// statements that begin and end it.
type refusal struct {
	name       string
	begin, end []string
}

// breaker asks a consumer for its circuit breaker's state.
func breaker(t *testing.T, c *harness.Program) string {
	t.Helper()
	var status struct{ Breaker string }
	do(t, http.MethodGet, c.URL+"/v1/status", "", "").into(t, &status)
	return status.Breaker
}
