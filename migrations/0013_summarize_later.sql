-- Block ranges of chunks that are being filled are summarized by the consumer
-- (0010_newest_ranges.sql), so autovacuum need not do it as well. Nor did it: writers leave
-- it a note of each range that they filled, of which there is room for 256 until it comes by,
-- and each that finds no room is a message of three lines in PostgreSQL's log, 260 lines a
-- second at 100,000 events/s. What comes late to a full chunk is autovacuum's as before.

-- +goose Up

-- New chunks take it over.
ALTER INDEX events_time SET (autosummarize = off);

-- Tells the chunks that are there, and each when it is full; returns how many. It takes the
-- owner's rights, and a lock (ACCESS EXCLUSIVE) on an index that nobody writes to any more, but
-- for chunks that were open when this version came. Who does not get it soon is told next time.
-- +goose StatementBegin
CREATE FUNCTION autosummarize_full_chunks_only() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    index  regclass;
    wanted text;
    told   integer := 0;
BEGIN
    FOR index, wanted IN
        SELECT r.oid::regclass, w.wanted
        FROM timescaledb_information.chunks c
        CROSS JOIN LATERAL (SELECT CASE WHEN c.range_end > now() THEN 'off' ELSE 'on' END) w (wanted)
        JOIN pg_index i ON i.indrelid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
        JOIN pg_class r ON r.oid = i.indexrelid AND r.relname LIKE '%events\_time'
        WHERE c.hypertable_schema = current_schema() AND c.hypertable_name = 'events'
          AND NOT 'autosummarize=' || w.wanted = ANY (r.reloptions)
    LOOP
        BEGIN
            EXECUTE format('ALTER INDEX %s SET (autosummarize = %s)', index, wanted);
            told := told + 1;
        EXCEPTION WHEN lock_not_available THEN
            CONTINUE;
        END;
    END LOOP;
    RETURN told;
END $$;
-- +goose StatementEnd

ALTER FUNCTION weir_grant() RENAME TO weir_grant_12;
-- +goose StatementBegin
CREATE FUNCTION weir_grant() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM weir_grant_12();
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_writer') THEN
        GRANT EXECUTE ON FUNCTION autosummarize_full_chunks_only() TO weir_writer;
    END IF;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['weir_grant()', 'autosummarize_full_chunks_only()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %s, pg_temp', f, current_setting('search_path'));
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END $$;
-- +goose StatementEnd
SELECT weir_grant();

-- +goose Down
DROP FUNCTION weir_grant();
ALTER FUNCTION weir_grant_12() RENAME TO weir_grant;
DROP FUNCTION autosummarize_full_chunks_only();
ALTER INDEX events_time SET (autosummarize = on);
-- +goose StatementBegin
DO $$
DECLARE
    index regclass;
BEGIN
    FOR index IN
        SELECT r.oid::regclass
        FROM timescaledb_information.chunks c
        JOIN pg_index i ON i.indrelid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
        JOIN pg_class r ON r.oid = i.indexrelid AND r.relname LIKE '%events\_time'
        WHERE c.hypertable_schema = current_schema() AND c.hypertable_name = 'events'
    LOOP
        EXECUTE format('ALTER INDEX %s SET (autosummarize = on)', index);
    END LOOP;
END $$;
-- +goose StatementEnd
