-- Most questions about users are about all of them, and most of the log of users is by some
-- dimension: of 130,000 lines that waited at 5,000 events/s, 7,000 were what a summary needs,
-- which read all, twice. So these have a table of their own. Readers need not know:
-- rollup_user_deltas is both, and a question reads the one that its dimension is in. The
-- consumer writes and folds each by itself.

-- +goose Up
DROP VIEW user_minutes, user_hours, user_days;
ALTER TABLE rollup_user_deltas RENAME TO rollup_user_deltas_before;

CREATE TABLE rollup_user_deltas (
    minute    integer  NOT NULL,
    key_id    integer  NOT NULL,
    dimension smallint NOT NULL,
    users     bytea    NOT NULL
) PARTITION BY LIST (dimension);
CREATE TABLE rollup_user_deltas_all PARTITION OF rollup_user_deltas FOR VALUES IN (0, 100) -- users and sessions of a type
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_scale_factor = 0.5);
CREATE TABLE rollup_user_deltas_by PARTITION OF rollup_user_deltas DEFAULT
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_scale_factor = 0.5);
INSERT INTO rollup_user_deltas SELECT minute, key_id, dimension, users FROM rollup_user_deltas_before;
DROP TABLE rollup_user_deltas_before;

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

ALTER FUNCTION weir_grant() RENAME TO weir_grant_10;
-- +goose StatementBegin
CREATE FUNCTION weir_grant() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM weir_grant_10();
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_writer') THEN
        GRANT SELECT, INSERT, DELETE ON rollup_user_deltas_all, rollup_user_deltas_by TO weir_writer;
        IF current_setting('server_version_num')::integer >= 170000 THEN
            GRANT MAINTAIN ON rollup_user_deltas_all, rollup_user_deltas_by TO weir_writer;
        END IF;
    END IF;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION weir_grant() SET search_path = %s, pg_temp', current_setting('search_path'));
    REVOKE EXECUTE ON FUNCTION weir_grant() FROM PUBLIC;
END $$;
-- +goose StatementEnd
SELECT weir_grant();

-- +goose Down
DROP FUNCTION weir_grant();
ALTER FUNCTION weir_grant_10() RENAME TO weir_grant;
DROP VIEW user_minutes, user_hours, user_days;
ALTER TABLE rollup_user_deltas RENAME TO rollup_user_deltas_after;
CREATE TABLE rollup_user_deltas (
    minute    integer  NOT NULL,
    key_id    integer  NOT NULL,
    dimension smallint NOT NULL,
    users     bytea    NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_scale_factor = 0.5);
INSERT INTO rollup_user_deltas SELECT minute, key_id, dimension, users FROM rollup_user_deltas_after;
DROP TABLE rollup_user_deltas_after;
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
SELECT weir_grant();
