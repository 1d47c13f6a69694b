// Package status tells how the pipeline is doing: what waits, how far it has come, and
// what it runs on.
package status

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"weir/migrations"
	"weir/services/api/internal/access"
	"weir/services/api/internal/query"
	"weir/services/shared/backlog"
	"weir/services/shared/build"
	"weir/services/shared/edition"
	"weir/services/shared/rollup"
)

// Source is where the status comes from.
type Source struct {
	Reader  *query.Reader
	Redis   redis.UniversalClient
	Streams []string // keys of the partitions
	Channel string   // of the live feed
	Group   string   // of the consumers
}

// Status is the answer of /v1/status.
type Status struct {
	AsOf    time.Time `json:"as_of" doc:"When this was asked for" example:"2026-01-02T00:00:00.123456Z"`
	Version string    `json:"version" doc:"Version of Weir that this api is" example:"v1.4.0"`
	Stream  Stream    `json:"stream"`
	Stored  Stored    `json:"stored"`
	Servers Servers   `json:"servers"`
}

// Stream is what waits in Redis.
type Stream struct {
	Error         string      `json:"error,omitempty" doc:"There when Redis did not answer: then the rest of this part is empty"`
	Group         bool        `json:"group" doc:"Whether the consumers' group exists in every partition; without it nothing is consumed"`
	Events        int64       `json:"events" doc:"Waiting or under way: not stored and acknowledged yet" example:"1200"`
	Pending       int64       `json:"pending" doc:"Of these, given to a consumer" example:"800"`
	AgeSeconds    float64     `json:"age_seconds" doc:"Age of the oldest of them, which is the consumers' lag" example:"0.8"`
	StoredThrough *time.Time  `json:"stored_through,omitempty" doc:"Every event that was accepted before this instant, by Redis' clock, is stored" example:"2026-01-02T00:00:00Z"`
	Partitions    []Partition `json:"partitions" nullable:"false"`
}

// Partition is one stream of them.
type Partition struct {
	Stream     string  `json:"stream" example:"events"`
	Events     int64   `json:"events" example:"1200"`
	Pending    int64   `json:"pending" example:"800"`
	AgeSeconds float64 `json:"age_seconds" example:"0.8"`
	Length     int64   `json:"length" doc:"Entries in the stream, acknowledged ones that are not trimmed yet included" example:"1500"`
}

// Stored is what is in the database.
type Stored struct {
	Error        string           `json:"error,omitempty" doc:"There when PostgreSQL did not answer: then only last_flush is known of this part, and of servers nothing that the database tells"`
	LastFlush    *time.Time       `json:"last_flush,omitempty" doc:"When a consumer last committed a batch, as it told Redis; absent before the first, and while Redis is away" example:"2026-01-02T00:00:00.123Z"`
	PerSecond    float64          `json:"events_per_second" doc:"Events that happened in the last whole minute, by second" example:"940.5"`
	NewestMinute *time.Time       `json:"newest_minute,omitempty" doc:"The latest minute up to now that events were stored of" example:"2026-01-02T00:00:00Z"`
	DeadLetters  map[string]int64 `json:"dead_letters" doc:"Entries that could not be stored and wait to be replayed or discarded, by stage: decode, validate, store" example:"{\"validate\":3}"`
	DeadMore     bool             `json:"dead_letters_more" doc:"Whether there are more than 10000, of which the rest are not counted"`
	Bytes        map[string]int64 `json:"bytes" doc:"Size of the raw events with their indexes, and of the whole database" example:"{\"events\":1048576,\"database\":2097152}"`
}

// Servers is what the pipeline runs on.
type Servers struct {
	Edition     string   `json:"edition,omitempty" enum:"community,apache" doc:"TimescaleDB's edition" example:"community"`
	TimescaleDB string   `json:"timescaledb,omitempty" example:"2.29.2"`
	PostgreSQL  string   `json:"postgresql,omitempty" example:"17.12"`
	Redis       string   `json:"redis,omitempty" doc:"Absent when it did not answer" example:"8.2.0"`
	Schema      int64    `json:"schema,omitempty" doc:"Version of the database schema" example:"8"`
	Needs       int64    `json:"schema_needed" doc:"The version that this api was made for" example:"8"`
	Replica     bool     `json:"replica" doc:"Whether questions are answered by a replica"`
	ReplicaLag  *float64 `json:"replica_lag_seconds,omitempty" doc:"How much older than the primary's is what the replica shows" example:"0.2"`

	ReplicaError string `json:"replica_error,omitempty" doc:"There when the replica does not answer, and the primary does in its place"`
}

type output struct{ Body Status }

// Register adds the operation /v1/status.
func Register(api huma.API, s Source) {
	release := build.Read().Version
	huma.Register(api, huma.Operation{
		OperationID: "get-status", Method: http.MethodGet, Path: "/v1/status", Tags: []string{"Pipeline"},
		Summary: "How the pipeline is doing",
		Description: "Backlog and lag of the stream, the last flush, the rate of events, dead letters, sizes, editions and versions. " +
			"It is answered while Redis or PostgreSQL is away: then stream.error or stored.error says so.",
		Security: access.Required(), Errors: query.Errors,
	}, func(ctx context.Context, _ *struct{}) (*output, error) {
		out := &output{Status{AsOf: time.Now().UTC(), Version: release}}
		var asking sync.WaitGroup // beside the database, so that who is away is told soon
		var stream Stream
		var version string
		var flushed *time.Time
		asking.Go(func() {
			var err error
			if stream, flushed, version, err = s.readRedis(ctx); err != nil {
				stream = Stream{Error: "Redis cannot be reached just now.", Partitions: []Partition{}}
			}
		})
		err := s.readDatabase(ctx, &out.Body)
		asking.Wait()
		if err != nil {
			return nil, err
		}
		out.Body.Stream, out.Body.Servers.Redis, out.Body.Stored.LastFlush = stream, version, flushed
		return out, ctx.Err()
	})
}

// readDatabase reads what PostgreSQL knows, or says that it does not answer.
func (s Source) readDatabase(ctx context.Context, into *Status) error {
	nothing := func(why string) Stored {
		return Stored{Error: why, DeadLetters: map[string]int64{}, Bytes: map[string]int64{}}
	}
	into.Stored, into.Servers = nothing(""), Servers{Needs: migrations.Latest()}
	_, err := s.Reader.Ask(ctx, func(ctx context.Context, tx pgx.Tx) error { return into.read(ctx, tx) })
	var away huma.StatusError
	switch {
	case errors.As(err, &away):
		why := "PostgreSQL cannot be reached just now."
		if away.GetStatus() == http.StatusGatewayTimeout {
			why = "PostgreSQL did not answer in time."
		}
		into.Stored, into.Servers = nothing(why), Servers{Needs: migrations.Latest()}
		return nil
	case err != nil:
		return err
	}
	switch replication := s.Reader.Replication(); {
	case replication.Lost != nil:
		into.Servers.ReplicaError = "The replica does not answer; the primary does in its place."
	case replication.Replica:
		lag := replication.Lag.Seconds()
		into.Servers.Replica, into.Servers.ReplicaLag = true, &lag
	}
	return nil
}

// The rollups' newest minute is looked for from now backwards: clocks that are ahead
// make events of tomorrow.
const storedSQL = `
SELECT coalesce((SELECT sum(events) FROM minutes
                 WHERE dimension = 0 AND bucket = date_trunc('minute', now()) - interval '1 minute'), 0)::float8 / 60,
       (SELECT max(bucket) FROM minutes WHERE dimension = 0 AND bucket <= now()),
       hypertable_size('events'), pg_database_size(current_database()),
       (SELECT max(version_id) FROM goose_db_version WHERE is_applied)`

// Of many dead letters only so many are counted: they may be millions, and are wide.
const deadSQL = `
SELECT stage, count(*)
FROM (SELECT stage FROM dead_letters LIMIT $1) AS first_ones
GROUP BY stage`

const maxDead = 10_000

func (s *Status) read(ctx context.Context, tx pgx.Tx) error {
	var events, database int64
	err := tx.QueryRow(ctx, storedSQL).Scan(&s.Stored.PerSecond, &s.Stored.NewestMinute, &events, &database, &s.Servers.Schema)
	if err != nil {
		return err
	}
	s.Stored.Bytes["events"], s.Stored.Bytes["database"] = events, database
	server, err := edition.Detect(ctx, tx)
	if err != nil {
		return err
	}
	s.Servers.Edition, s.Servers.TimescaleDB, s.Servers.PostgreSQL = string(server.Edition), server.TimescaleDB, server.PostgreSQL

	rows, err := tx.Query(ctx, deadSQL, maxDead+1)
	if err != nil {
		return err
	}
	var stage string
	var n, all int64
	_, err = pgx.ForEachRow(rows, []any{&stage, &n}, func() error {
		s.Stored.DeadLetters[stage] = n
		all += n
		return nil
	})
	s.Stored.DeadMore = all > maxDead
	return err
}

// redisTimeout bounds the wait for Redis, so that its absence is told soon.
const redisTimeout = 2 * time.Second

func (s Source) readRedis(ctx context.Context) (all Stream, flushed *time.Time, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	all = Stream{Group: true, Partitions: []Partition{}}
	var through time.Time
	for _, key := range s.Streams {
		b, err := backlog.Measure(ctx, s.Redis, key, s.Group)
		if err != nil {
			return all, nil, "", err
		}
		all.Group = all.Group && b.Group
		all.Events, all.Pending, all.AgeSeconds = all.Events+b.Events, all.Pending+b.Pending, max(all.AgeSeconds, b.Age.Seconds())
		all.Partitions = append(all.Partitions, Partition{key, b.Events, b.Pending, b.Age.Seconds(), b.Length})
		if oldest := b.Now.Add(-b.Age).UTC(); through.IsZero() || oldest.Before(through) {
			through = oldest
		}
	}
	all.StoredThrough = &through
	switch ms, err := s.Redis.Get(ctx, rollup.Flushed(s.Channel)).Int64(); {
	case err == nil:
		at := time.UnixMilli(ms).UTC()
		flushed = &at
	case !errors.Is(err, redis.Nil):
		return all, nil, "", err
	}
	info, err := s.Redis.Info(ctx, "server").Result()
	return all, flushed, versionOf(info), err
}

// versionOf finds Redis' version in what INFO says.
func versionOf(info string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "redis_version:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
