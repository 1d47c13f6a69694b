-- Whoever keeps in memory what it read of the rollups has to see when it changed. A fold
-- changes some buckets: dimension 101 of each grain's table counts the folds into each of
-- them, which the views do not show. A rebuild may change all, and is a row here.

-- +goose Up
CREATE TABLE rebuilds (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day        date        NOT NULL, -- whose rollups were made anew from its raw rows
    corrected  bigint      NOT NULL, -- how many buckets were wrong
    rebuilt_at timestamptz NOT NULL DEFAULT now()
);

CREATE OR REPLACE VIEW minutes AS
    SELECT bucket, dimension, key_id, events, value FROM rollup_minute WHERE dimension <> 101
    UNION ALL
    SELECT to_timestamp(minute * 60::bigint), dimension, key_id, events, value FROM rollup_deltas;
CREATE OR REPLACE VIEW hours AS
    SELECT bucket, dimension, key_id, events, value FROM rollup_hour WHERE dimension <> 101
    UNION ALL
    SELECT to_timestamp(minute / 60 * 3600::bigint), dimension, key_id, events, value FROM rollup_deltas;
CREATE OR REPLACE VIEW days AS
    SELECT bucket, dimension, key_id, events, value FROM rollup_day WHERE dimension <> 101
    UNION ALL
    SELECT to_timestamp(minute / 1440 * 86400::bigint), dimension, key_id, events, value FROM rollup_deltas;

-- weir_grant as before, and for what is new. MAINTAIN is for giving back the pages of a log
-- that was long.
ALTER FUNCTION weir_grant() RENAME TO weir_grant_8;
-- +goose StatementBegin
CREATE FUNCTION weir_grant() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM weir_grant_8();
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_reader') THEN
        GRANT SELECT ON rebuilds TO weir_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_writer') THEN
        GRANT SELECT, INSERT ON rebuilds TO weir_writer;
        IF current_setting('server_version_num')::integer >= 170000 THEN
            GRANT MAINTAIN ON rollup_deltas, rollup_user_deltas TO weir_writer;
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
CREATE OR REPLACE VIEW minutes AS
    SELECT bucket, dimension, key_id, events, value FROM rollup_minute
    UNION ALL
    SELECT to_timestamp(minute * 60::bigint), dimension, key_id, events, value FROM rollup_deltas;
CREATE OR REPLACE VIEW hours AS
    SELECT bucket, dimension, key_id, events, value FROM rollup_hour
    UNION ALL
    SELECT to_timestamp(minute / 60 * 3600::bigint), dimension, key_id, events, value FROM rollup_deltas;
CREATE OR REPLACE VIEW days AS
    SELECT bucket, dimension, key_id, events, value FROM rollup_day
    UNION ALL
    SELECT to_timestamp(minute / 1440 * 86400::bigint), dimension, key_id, events, value FROM rollup_deltas;
DROP FUNCTION weir_grant();
ALTER FUNCTION weir_grant_8() RENAME TO weir_grant;
DROP TABLE rebuilds;
DELETE FROM rollup_minute WHERE dimension = 101;
DELETE FROM rollup_hour WHERE dimension = 101;
DELETE FROM rollup_day WHERE dimension = 101;
