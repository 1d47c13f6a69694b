package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/migrations"
	"weir/services/shared/event"
)

// TestEachServiceHasNoMoreRightsThanItNeeds runs the whole pipeline with roles of their
// own: one that migrates and may not make roles, the consumer's in weir_writer, the api's
// in weir_reader.
func TestEachServiceHasNoMoreRightsThanItNeeds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	servers := harness.Private(t) // roles belong to a whole cluster
	box, err := servers.Sandbox(ctx, "roles")
	require.NoError(t, err)
	super := open(t, box)
	as := func(role string) (string, *pgxpool.Pool) {
		t.Helper()
		address, err := url.Parse(box.PostgresURL)
		require.NoError(t, err)
		address.User = url.UserPassword(role, "password")
		pool, err := pgxpool.New(ctx, address.String())
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		return address.String(), pool
	}
	exec := func(pool *pgxpool.Pool, statements ...string) {
		t.Helper()
		for _, s := range statements {
			_, err := pool.Exec(ctx, s)
			require.NoError(t, err, s)
		}
	}

	// Who migrates need own no more than the database. The groups may come later.
	exec(super, `CREATE ROLE migrator LOGIN PASSWORD 'password'`, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO migrator', current_database()); END $$`)
	migratorURL, migrator := as("migrator")
	_, err = migrations.Up(ctx, migratorURL)
	require.NoError(t, err)
	require.Zero(t, number(t, super, `SELECT count(*) FROM pg_roles WHERE rolname LIKE 'weir%'`))
	exec(super, `CREATE ROLE weir_writer NOLOGIN`, `CREATE ROLE weir_reader NOLOGIN`,
		`CREATE ROLE consumer LOGIN PASSWORD 'password' IN ROLE weir_writer`, `CREATE ROLE api LOGIN PASSWORD 'password' IN ROLE weir_reader`)
	exec(migrator, `SELECT weir_grant()`, `SELECT weir_grant()`, `CREATE TABLE of_a_later_migration (n integer)`)
	consumerURL, writer := as("consumer")
	apiURL, reader := as("api")
	exec(writer, `INSERT INTO of_a_later_migration VALUES (1)`)
	require.EqualValues(t, 1, number(t, reader, `SELECT n FROM of_a_later_migration`))

	// Everything that the consumer does: new and known events, bad ones, chunks that are
	// made and dropped, folding, replaying, verifying and rebuilding.
	said := map[string]*transcript{"consumer": {}, "api": {}}
	consumer := startProgram(t, box, "weir-consumer", said["consumer"], "POSTGRES_URL="+consumerURL, "ROLLUP_FOLD_INTERVAL=50ms",
		"RETENTION_EVENTS=10d", "RETENTION_DEAD_LETTERS=10d", "RETENTION_INTERVAL=1s", "COMPRESS_AFTER=1d")
	questions := startProgram(t, box, "weir-api", said["api"], "POSTGRES_URL="+apiURL)
	ingestion := run(t, box, "weir-ingestion")
	old := time.Now().Add(-30 * 24 * time.Hour).UTC()
	now := time.Now().UTC()
	for _, at := range []time.Time{old, now, now, now} { // twice it is known already; what was dropped is known no more
		body := fmt.Sprintf(`{"id":"m","time":%q,"type":"a","user_id":"u","path":"/p","value":1}`, at.Format(time.RFC3339))
		require.Equal(t, http.StatusAccepted, postWhenUp(t, ingestion.URL+"/v1/events", "application/json", body).status)
	}
	client := connect(t, box)
	require.NoError(t, client.XAdd(ctx, &redis.XAddArgs{Stream: box.StreamName, Values: []any{event.Field, `{"not":"an event"}`}}).Err())
	reach(t, super, 1, `SELECT count(*) FROM dead_letters`)
	require.Eventually(t, func() bool {
		return number(t, super, `SELECT coalesce(sum(events), 0)::bigint FROM rollup_day WHERE dimension = 0`) == 2 &&
			number(t, super, `SELECT count(*) FROM users_day WHERE dimension = 0`) == 2 &&
			number(t, super, `SELECT count(*) FROM events`) == 1
	}, 2*patience, 50*time.Millisecond, "stored once, folded, and the old chunk dropped")
	require.Equal(t, http.StatusOK, do(t, http.MethodPost, consumer.URL+"/v1/dead-letters/replay?all=true", "", "").status)
	reach(t, super, 1, `SELECT count(*) FROM dead_letters WHERE id > 1`)
	require.Equal(t, http.StatusOK, do(t, http.MethodPost, consumer.URL+"/v1/dead-letters/discard?all=true", "", "").status)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for _, command := range []string{"verify", "rebuild"} {
		c := osexec.CommandContext(ctx, filepath.Join(string(binaries(t)), "weir-consumer"), command, "--from", today.Format(time.RFC3339), "--to", today.Add(24*time.Hour).Format(time.RFC3339))
		c.Env = append(os.Environ(), "POSTGRES_URL="+consumerURL, "REDIS_URL="+box.RedisURL)
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s: %s", command, out)
	}
	for _, o := range operations(t) {
		if o.service == "api" {
			r := send(t, o.request(t, questions.URL, "", ""), "")
			assert.Less(t, r.status, 500, "%s: %s", o, r.body)
		}
	}
	for service, s := range said {
		require.NotContains(t, s.String(), "permission denied", service)
		require.NotContains(t, s.String(), "must be owner", service)
		require.NotContains(t, s.String(), "failed", service)
	}

	// The file that makes the services' logins makes them once, and sets their passwords.
	logins, err := os.ReadFile("../deploy/postgres/roles.sql")
	require.NoError(t, err)
	for _, password := range []string{"first", "second"} {
		config, err := pgx.ParseConfig(box.PostgresURL)
		require.NoError(t, err)
		config.RuntimeParams["options"] = "-c weir.consumer_password=" + password + " -c weir.api_password=" + password
		conn, err := pgx.ConnectConfig(ctx, config)
		require.NoError(t, err)
		_, err = conn.Exec(ctx, string(logins))
		require.NoError(t, err)
		require.NoError(t, conn.Close(ctx))
	}
	for _, role := range []string{"weir_consumer", "weir_api"} {
		address, err := url.Parse(box.PostgresURL)
		require.NoError(t, err)
		address.User = url.UserPassword(role, "second")
		conn, err := pgx.Connect(ctx, address.String())
		require.NoError(t, err)
		_, err = conn.Exec(ctx, `SELECT count(*) FROM events`)
		require.NoError(t, err)
		_, err = conn.Exec(ctx, `DELETE FROM rollup_deltas`)
		require.Equal(t, role == "weir_consumer", err == nil, "%s: %v", role, err)
		require.NoError(t, conn.Close(ctx))
	}

	// And what they may not.
	var chunk string
	require.NoError(t, super.QueryRow(ctx, `SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks WHERE hypertable_name = 'events' LIMIT 1`).Scan(&chunk))
	denied := func(who string, pool *pgxpool.Pool, statements ...string) {
		t.Helper()
		for _, s := range statements {
			_, err := pool.Exec(ctx, s)
			var pg *pgconn.PgError
			if assert.ErrorAs(t, err, &pg, "%s may %s", who, s) {
				assert.Equal(t, "42501", pg.Code, "%s: %s: %v", who, s, err) // insufficient_privilege
			}
		}
	}
	both := []string{
		`ALTER TABLE events ADD COLUMN x integer`, `DROP TABLE events`, `TRUNCATE events`, `TRUNCATE rollup_day`, `DROP VIEW days`, `CREATE TABLE x (n integer)`,
		`ALTER TABLE ` + chunk + ` ADD COLUMN x integer`, `DROP TABLE ` + chunk, `TRUNCATE ` + chunk,
		`SELECT drop_chunks('events', older_than => now())`, `SELECT set_chunk_time_interval('events', interval '1 hour')`, `SELECT weir_grant()`,
		`SELECT drop_aged('events', now())`, `UPDATE events SET type = 'x'`, `DELETE FROM goose_db_version`, `CREATE ROLE x`,
	}
	denied("the writer", writer, append(both, `UPDATE rollup_keys SET type = 'x'`, `DELETE FROM retention`, `SELECT set_retention_policy('events', interval '1 hour')`)...)
	denied("the reader", reader, append(both, `INSERT INTO events SELECT * FROM events`, `INSERT INTO `+chunk+` SELECT * FROM events`, `DELETE FROM events`,
		`DELETE FROM `+chunk, `UPDATE rollup_day SET events = 0`, `DELETE FROM dead_letters`, `INSERT INTO retention VALUES ('x')`, `SELECT events FROM events FOR UPDATE`,
		`SELECT set_columnstore_policy('events', interval '0', '', '')`, `COPY events FROM STDIN`)...)
}
