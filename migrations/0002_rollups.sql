-- Counts and sums by type, alone and crossed with each dimension, per minute,
-- hour and day. A consumer's batch appends what it adds to rollup_deltas, in its
-- own transaction; one consumer at a time folds the deltas into the three grains.
-- Readers use the views, which add what is not folded yet: exact at every instant.

-- +goose Up

-- What a rollup row counts: events of a type with one value of one dimension.
-- Dimension 0 is the type alone. The numbers are in package rollup.
CREATE TABLE rollup_keys (
    id        integer  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dimension smallint NOT NULL,
    type      text     NOT NULL,
    value     text     NOT NULL,
    UNIQUE (dimension, type, value)
);

-- minute counts minutes since 1970; value is in millionths. No index: it is only
-- ever read and emptied whole, about once a second.
CREATE TABLE rollup_deltas (
    minute    integer  NOT NULL,
    key_id    integer  NOT NULL,
    events    integer  NOT NULL,
    dimension smallint NOT NULL,
    value     bigint   NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_scale_factor = 0.5);

CREATE TABLE rollup_minute (
    bucket    timestamptz NOT NULL,
    dimension smallint    NOT NULL,
    key_id    integer     NOT NULL,
    events    bigint      NOT NULL,
    value     numeric     NOT NULL
);
CREATE TABLE rollup_hour (LIKE rollup_minute);
CREATE TABLE rollup_day (LIKE rollup_minute);

SELECT create_hypertable('rollup_minute', 'bucket', chunk_time_interval => interval '1 day', create_default_indexes => false);
SELECT create_hypertable('rollup_hour', 'bucket', chunk_time_interval => interval '30 days', create_default_indexes => false);
SELECT create_hypertable('rollup_day', 'bucket', chunk_time_interval => interval '365 days', create_default_indexes => false);

-- Every question names a dimension and a span of time.
CREATE UNIQUE INDEX rollup_minute_key ON rollup_minute (dimension, bucket, key_id);
CREATE UNIQUE INDEX rollup_hour_key ON rollup_hour (dimension, bucket, key_id);
CREATE UNIQUE INDEX rollup_day_key ON rollup_day (dimension, bucket, key_id);

CREATE VIEW minutes AS
    SELECT bucket, dimension, key_id, events, value FROM rollup_minute
    UNION ALL
    SELECT to_timestamp(minute * 60::bigint), dimension, key_id, events, value FROM rollup_deltas;
CREATE VIEW hours AS
    SELECT bucket, dimension, key_id, events, value FROM rollup_hour
    UNION ALL
    SELECT to_timestamp(minute / 60 * 3600::bigint), dimension, key_id, events, value FROM rollup_deltas;
CREATE VIEW days AS
    SELECT bucket, dimension, key_id, events, value FROM rollup_day
    UNION ALL
    SELECT to_timestamp(minute / 1440 * 86400::bigint), dimension, key_id, events, value FROM rollup_deltas;

-- +goose Down
DROP VIEW minutes, hours, days;
DROP TABLE rollup_day;
DROP TABLE rollup_hour;
DROP TABLE rollup_minute;
DROP TABLE rollup_deltas, rollup_keys;
