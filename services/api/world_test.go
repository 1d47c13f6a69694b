package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/e2e/harness/contract"
	"weir/migrations"
	"weir/services/api"
	"weir/services/shared/config"
	"weir/services/shared/edition"
	"weir/services/shared/event"
	"weir/services/shared/redisclient"
	"weir/services/shared/rollup"
	"weir/services/shared/unique"
)

// contracts holds the api to its document, in every request of every test.
var contracts = contract.New(&http.Transport{DisableKeepAlives: true})

func TestMain(m *testing.M) {
	code := harness.Main(m)
	if lies := contracts.Breaches(); lies != "" {
		fmt.Fprint(os.Stderr, lies)
		code = max(code, 1)
	}
	os.Exit(code)
}

// world is a sandbox with an api on it, and what a consumer would do to it.
type world struct {
	t     testing.TB
	box   *harness.Sandbox
	pool  *pgxpool.Pool
	redis redis.UniversalClient
	http  *http.Client

	address string
	stop    func() error // stops the api and returns what Run returned
	log     *syncBuffer
}

// newWorld starts no api yet: a test may first store something.
func newWorld(t testing.TB, box *harness.Sandbox) *world {
	t.Helper()
	_, err := migrations.Up(t.Context(), box.PostgresURL)
	require.NoError(t, err)
	w := &world{t: t, box: box, http: &http.Client{Transport: contracts}, log: &syncBuffer{}}
	w.pool, err = pgxpool.New(context.Background(), box.PostgresURL)
	require.NoError(t, err)
	t.Cleanup(w.pool.Close)
	w.redis, err = redisclient.New(redisclient.Config{URL: box.RedisURL})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.redis.Close() })
	return w
}

// chance is a source of random numbers, which WEIR_SEED draws again.
func chance(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(harness.Seed(t), 0))
}

// compress has every second chunk of events and counts compressed, as the
// consumer's policies do. Only the Community edition can.
func (w *world) compress() {
	w.t.Helper()
	s, err := edition.Detect(w.t.Context(), w.pool)
	require.NoError(w.t, err)
	if s.Edition != edition.Community {
		return
	}
	for table, how := range map[string][2]string{"events": {"", "time DESC"}, "rollup_minute": {"dimension", "bucket, key_id"}, "rollup_hour": {"dimension", "bucket, key_id"}} {
		_, err := w.pool.Exec(w.t.Context(), fmt.Sprintf(
			`ALTER TABLE %s SET (timescaledb.enable_columnstore, timescaledb.segmentby = '%s', timescaledb.orderby = '%s')`, table, how[0], how[1]))
		require.NoError(w.t, err)
		_, err = w.pool.Exec(w.t.Context(), `
			SELECT compress_chunk(name, true)
			FROM (SELECT name, row_number() OVER (ORDER BY name) AS n FROM show_chunks($1::regclass) AS name) AS chunk
			WHERE n % 2 = 0`, table)
		require.NoError(w.t, err)
	}
}

// start runs the api with settings given as NAME, value pairs.
func (w *world) start(settings ...string) *world {
	w.t.Helper()
	env := map[string]string{
		"REDIS_URL": w.box.RedisURL, "POSTGRES_URL": w.box.PostgresURL, "STREAM_NAME": w.box.StreamName,
		"API_PORT": "0", "BIND_HOST": "127.0.0.1", "POSTGRES_POOL_SIZE": "10", "POSTGRES_CONNECT_TIMEOUT": "20s", // other tests keep the machine busy
	}
	for i := 0; i < len(settings); i += 2 {
		env[settings[i]] = settings[i+1]
	}
	var cfg api.Config
	require.NoError(w.t, config.Load(&cfg, func(name string) (string, bool) { v, ok := env[name]; return v, ok }))
	listening := make(chan string, 1)
	cfg.Logger = slog.New(slog.NewTextHandler(w.log, nil))
	cfg.Listening = func(address string) { listening <- address }

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- api.Run(ctx, cfg) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	w.t.Cleanup(func() { require.NoError(w.t, w.stop()) })
	select {
	case w.address = <-listening:
	case err := <-ended:
		ended <- err
		require.FailNow(w.t, "the api ended", "%v\n%s", err, w.log)
	case <-time.After(30 * time.Second):
		require.FailNow(w.t, "the api does not listen", w.log)
	}
	require.NoError(w.t, contracts.Hold(context.Background(), "http://"+w.address))
	return w
}

// another is a further api beside this one, on the same servers.
func (w *world) another(settings ...string) *world {
	w.t.Helper()
	other := *w
	return other.start(settings...)
}

// get asks the api; the answer's numbers stay text (json.Number).
func (w *world) get(path string, params url.Values, into any) *http.Response {
	w.t.Helper()
	response, err := w.http.Get("http://" + w.address + path + "?" + params.Encode())
	require.NoError(w.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	if into != nil {
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		require.NoError(w.t, d.Decode(into), "%s", body)
	}
	return response
}

// ok is get for what must succeed.
func (w *world) ok(path string, params url.Values, into any) {
	w.t.Helper()
	var raw json.RawMessage
	response := w.get(path, params, &raw)
	require.Equal(w.t, http.StatusOK, response.StatusCode, "%s %v: %s", path, params, raw)
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	require.NoError(w.t, d.Decode(into))
}

// begin does what a consumer does with a batch, up to the commit: rows, keys and
// deltas in one transaction. It returns what is to be published after it.
func (w *world) begin(events ...event.Event) (pgx.Tx, rollup.Batch) {
	w.t.Helper()
	ctx := context.Background()
	tx, err := w.pool.Begin(ctx)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = tx.Rollback(ctx) }) // of one that fails on the way: the pool waits for it
	rows := make([][]any, len(events))
	sums := map[rollup.Delta]*rollup.Delta{}
	type sight struct {
		rollup.Delta
		sessions bool
	}
	seen := map[sight]*unique.Set{}
	see := func(s sight, who string) {
		if seen[s] == nil {
			seen[s] = new(unique.Set)
		}
		seen[s].Add(unique.Hash(who))
	}
	var batch rollup.Batch
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	for i, e := range events {
		var value any
		if e.HasValue {
			value = string(event.AppendMicros(nil, e.Value))
		}
		rows[i] = []any{[16]byte(e.ID), e.Time, e.Type, e.Source, null(e.UserID), null(e.AnonymousID), null(e.SessionID),
			null(e.Path), null(e.Referrer), null(e.Country), null(e.Device), null(e.Browser), null(e.OS), value, null(e.Currency), null(e.Properties)}
		for d := range rollup.Dimension(rollup.Dimensions) {
			v := d.Of(&e)
			if d != rollup.All && v == "" {
				continue
			}
			key := rollup.Delta{Minute: int32(e.Time.Unix() / 60), Key: rollup.Key{Dimension: d, Type: e.Type, Value: v}}
			if sums[key] == nil {
				sums[key] = &rollup.Delta{Minute: key.Minute, Key: key.Key}
			}
			see(sight{key, false}, e.Actor())
			if d == rollup.All && e.SessionID != "" {
				see(sight{key, true}, e.SessionID)
			}
			sums[key].Events++
			sums[key].Value += e.Value
		}
	}
	_, err = tx.Exec(ctx, `CREATE TEMP TABLE IF NOT EXISTS load (id uuid, time timestamptz, type text, source text, user_id text, anonymous_id text, session_id text, path text, referrer text, country text, device text, browser text, os text, value text, currency text, properties text); TRUNCATE load`)
	require.NoError(w.t, err)
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"load"}, strings.Split("id,time,type,source,user_id,anonymous_id,session_id,path,referrer,country,device,browser,os,value,currency,properties", ","), pgx.CopyFromRows(rows))
	require.NoError(w.t, err)
	_, err = tx.Exec(ctx, `INSERT INTO events (id, time, type, source, user_id, anonymous_id, session_id, path, referrer, country, device, browser, os, value, currency, properties)
		SELECT id, time, type, source, user_id, anonymous_id, session_id, path, referrer, country, device, browser, os, value::numeric, currency, properties::jsonb FROM load`)
	require.NoError(w.t, err)
	queue := &pgx.Batch{}
	for _, d := range sums {
		batch.Deltas = append(batch.Deltas, *d)
		queue.Queue(`INSERT INTO rollup_keys (dimension, type, value) SELECT $1, $2, $3
			WHERE NOT EXISTS (SELECT FROM rollup_keys WHERE (dimension, type, value) = ($1, $2, $3))`, int16(d.Key.Dimension), d.Key.Type, d.Key.Value)
		queue.Queue(`INSERT INTO rollup_deltas (minute, key_id, events, dimension, value)
			SELECT $1, id, $2, dimension, $3 FROM rollup_keys WHERE (dimension, type, value) = ($4, $5, $6)`,
			d.Minute, d.Events, d.Value, int16(d.Key.Dimension), d.Key.Type, d.Key.Value)
	}
	for s, set := range seen {
		encoded, err := set.AppendBinary(nil)
		require.NoError(w.t, err)
		dimension := s.Key.Dimension
		if s.sessions {
			dimension = rollup.Sessions
		}
		queue.Queue(`INSERT INTO rollup_user_deltas (minute, key_id, dimension, users)
			SELECT $1, id, $6, $2 FROM rollup_keys WHERE (dimension, type, value) = ($3, $4, $5)`,
			s.Minute, encoded, int16(s.Key.Dimension), s.Key.Type, s.Key.Value, int16(dimension))
	}
	require.NoError(w.t, tx.SendBatch(ctx, queue).Close())
	var xid string
	require.NoError(w.t, tx.QueryRow(ctx, "SELECT pg_current_xact_id()::text").Scan(&xid))
	_, err = fmt.Sscan(xid, &batch.XID)
	require.NoError(w.t, err)
	return tx, batch
}

// store commits a batch.
func (w *world) store(events ...event.Event) rollup.Batch {
	w.t.Helper()
	tx, batch := w.begin(events...)
	require.NoError(w.t, tx.Commit(context.Background()))
	return batch
}

func (w *world) publish(b rollup.Batch) {
	w.t.Helper()
	require.NoError(w.t, w.redis.Publish(context.Background(), rollup.Channel(w.box.StreamName), b.AppendJSON(nil)).Err())
}

// fold does what the leader of the consumers does.
func (w *world) fold() {
	w.t.Helper()
	ctx := context.Background()
	require.NoError(w.t, pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		for grain, minutes := range map[string]int{"minute": 1, "hour": 60, "day": 1440} {
			if _, err := tx.Exec(ctx, fmt.Sprintf(`INSERT INTO rollup_%s AS r (bucket, dimension, key_id, events, value)
				SELECT to_timestamp(minute / %[2]d * %[2]d * 60::bigint), dimension, key_id, sum(events), sum(value)
				FROM (SELECT * FROM rollup_deltas UNION ALL SELECT DISTINCT minute, 0, 1, %[3]d, 0 FROM rollup_deltas) AS d (minute, key_id, events, dimension, value)
				GROUP BY 1, 2, 3
				ON CONFLICT (dimension, bucket, key_id) DO UPDATE SET events = r.events + excluded.events, value = r.value + excluded.value`,
				grain, minutes, rollup.Folds)); err != nil {
				return err
			}
			if err := foldSets(ctx, tx, "users_"+grain, minutes); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "DELETE FROM rollup_deltas; DELETE FROM rollup_user_deltas")
		return err
	}))
}

func foldSets(ctx context.Context, tx pgx.Tx, table string, minutes int) error {
	type place struct {
		bucket    time.Time
		dimension int16
		key       int32
	}
	sets := map[place]*unique.Set{}
	folds := strconv.Itoa(int(rollup.Folds))
	rows, err := tx.Query(ctx, `SELECT to_timestamp(minute / $1 * $1 * 60::bigint), dimension, key_id, users FROM rollup_user_deltas
		UNION ALL SELECT bucket, dimension, key_id, users FROM `+table+` WHERE dimension <> `+folds+` AND bucket IN (SELECT to_timestamp(minute / $1 * $1 * 60::bigint) FROM rollup_user_deltas)`, minutes)
	if err != nil {
		return err
	}
	var p place
	var users []byte
	if _, err := pgx.ForEachRow(rows, []any{&p.bucket, &p.dimension, &p.key, &users}, func() error {
		p.bucket = p.bucket.UTC()
		if sets[p] == nil {
			sets[p] = new(unique.Set)
		}
		return sets[p].Merge(users)
	}); err != nil {
		return err
	}
	for p, set := range sets {
		encoded, err := set.AppendBinary(nil)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO `+table+` (bucket, dimension, key_id, users) VALUES ($1, $2, $3, $4)
			ON CONFLICT (dimension, bucket, key_id) DO UPDATE SET users = excluded.users`, p.bucket, p.dimension, p.key, encoded); err != nil {
			return err
		}
	}
	for log, name := range rollup.UserLogs {
		if _, err := tx.Exec(ctx, `INSERT INTO `+table+` (bucket, dimension, key_id, users)
			SELECT DISTINCT to_timestamp(minute / $1 * $1 * 60::bigint), `+folds+`, $2::int, ''::bytea FROM `+name+`
			ON CONFLICT (dimension, bucket, key_id) DO UPDATE SET users = excluded.users`, minutes, log); err != nil {
			return err
		}
	}
	return nil
}

func pageView(at time.Time) event.Event {
	return event.Event{ID: event.NewID(at), Type: "page_view", Time: at.UTC().Truncate(time.Microsecond), Source: "web", UserID: "u"}
}

// eventually waits for what no signal tells of: the state of a server.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, 20*time.Second, 10*time.Millisecond, what)
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// metrics is what Prometheus would read.
func (w *world) metrics() string {
	w.t.Helper()
	response, err := w.http.Get("http://" + w.address + "/metrics")
	require.NoError(w.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	return string(body)
}

var discard = slog.New(slog.DiscardHandler)
