-- Who did it: sets of users by the same keys and grains as the counts, in the form that
-- package unique writes. A batch appends the users that it saw to rollup_user_deltas;
-- one consumer at a time merges them into the three grains. A set may be merged any
-- number of times, so readers merge what the views show, from both, and are exact at
-- every instant.

-- +goose Up
CREATE TABLE rollup_user_deltas (
    minute    integer  NOT NULL,
    key_id    integer  NOT NULL,
    dimension smallint NOT NULL,
    users     bytea    NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_scale_factor = 0.5);

CREATE TABLE users_minute (
    bucket    timestamptz NOT NULL,
    dimension smallint    NOT NULL,
    key_id    integer     NOT NULL,
    users     bytea       NOT NULL
);
CREATE TABLE users_hour (LIKE users_minute);
CREATE TABLE users_day (LIKE users_minute);

SELECT create_hypertable('users_minute', 'bucket', chunk_time_interval => interval '1 day', create_default_indexes => false);
SELECT create_hypertable('users_hour', 'bucket', chunk_time_interval => interval '30 days', create_default_indexes => false);
SELECT create_hypertable('users_day', 'bucket', chunk_time_interval => interval '365 days', create_default_indexes => false);

CREATE UNIQUE INDEX users_minute_key ON users_minute (dimension, bucket, key_id);
CREATE UNIQUE INDEX users_hour_key ON users_hour (dimension, bucket, key_id);
CREATE UNIQUE INDEX users_day_key ON users_day (dimension, bucket, key_id);

CREATE VIEW user_minutes AS
    SELECT bucket, dimension, key_id, users FROM users_minute
    UNION ALL
    SELECT to_timestamp(minute * 60::bigint), dimension, key_id, users FROM rollup_user_deltas;
CREATE VIEW user_hours AS
    SELECT bucket, dimension, key_id, users FROM users_hour
    UNION ALL
    SELECT to_timestamp(minute / 60 * 3600::bigint), dimension, key_id, users FROM rollup_user_deltas;
CREATE VIEW user_days AS
    SELECT bucket, dimension, key_id, users FROM users_day
    UNION ALL
    SELECT to_timestamp(minute / 1440 * 86400::bigint), dimension, key_id, users FROM rollup_user_deltas;

-- +goose Down
DROP VIEW user_minutes, user_hours, user_days;
DROP TABLE users_day;
DROP TABLE users_hour;
DROP TABLE users_minute;
DROP TABLE rollup_user_deltas;
