-- Whoever keeps in memory what it read of the sets of users has to see when they changed, as with
-- the counts (0009_rebuilds.sql): dimension 101 of each grain's table has a row for each bucket that
-- a fold of users changed, and for each of the logs that it came from, in key_id. It is written
-- anew by each fold, so it is another row version each time, whose xmin tells. Its set is empty, which no
-- other is, and the views do not show it.

-- +goose Up
CREATE OR REPLACE VIEW user_minutes AS
    SELECT bucket, dimension, key_id, users FROM users_minute WHERE dimension <> 101
    UNION ALL
    SELECT to_timestamp(minute * 60::bigint), dimension, key_id, users FROM rollup_user_deltas;
CREATE OR REPLACE VIEW user_hours AS
    SELECT bucket, dimension, key_id, users FROM users_hour WHERE dimension <> 101
    UNION ALL
    SELECT to_timestamp(minute / 60 * 3600::bigint), dimension, key_id, users FROM rollup_user_deltas;
CREATE OR REPLACE VIEW user_days AS
    SELECT bucket, dimension, key_id, users FROM users_day WHERE dimension <> 101
    UNION ALL
    SELECT to_timestamp(minute / 1440 * 86400::bigint), dimension, key_id, users FROM rollup_user_deltas;

-- +goose Down
CREATE OR REPLACE VIEW user_minutes AS
    SELECT bucket, dimension, key_id, users FROM users_minute
    UNION ALL
    SELECT to_timestamp(minute * 60::bigint), dimension, key_id, users FROM rollup_user_deltas;
CREATE OR REPLACE VIEW user_hours AS
    SELECT bucket, dimension, key_id, users FROM users_hour
    UNION ALL
    SELECT to_timestamp(minute / 60 * 3600::bigint), dimension, key_id, users FROM rollup_user_deltas;
CREATE OR REPLACE VIEW user_days AS
    SELECT bucket, dimension, key_id, users FROM users_day
    UNION ALL
    SELECT to_timestamp(minute / 1440 * 86400::bigint), dimension, key_id, users FROM rollup_user_deltas;
DELETE FROM users_minute WHERE dimension = 101;
DELETE FROM users_hour WHERE dimension = 101;
DELETE FROM users_day WHERE dimension = 101;
