-- Block ranges of chunks that are being filled are summarized by the consumer
-- (0010_newest_ranges.sql), so autovacuum need not do it as well. Nor did it: writers leave
-- it a note of each range that they filled, of which there is room for 256 until it comes by,
-- and each that finds no room is a message of three lines in PostgreSQL's log, 280 lines a
-- second at 100,000 events/s. What comes late to a full chunk is autovacuum's as before.

-- +goose Up

-- New chunks take it over.
ALTER INDEX events_time SET (autosummarize = off);

-- Returns how many indexes were told. It takes the owner's rights.
-- +goose StatementBegin
CREATE FUNCTION autosummarize_full_chunks_only() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    index regclass;
    open  boolean;
    told  integer := 0;
BEGIN
    FOR index, open IN
        SELECT i.indexrelid, c.range_end > now()
        FROM timescaledb_information.chunks c
        JOIN pg_index i ON i.indrelid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
        JOIN pg_class r ON r.oid = i.indexrelid
        JOIN pg_am a ON a.oid = r.relam AND a.amname = 'brin'
        WHERE c.hypertable_schema = current_schema() AND c.hypertable_name = 'events'
          AND 'autosummarize=' || CASE WHEN c.range_end > now() THEN 'on' ELSE 'off' END = ANY (r.reloptions)
    LOOP
        EXECUTE format('ALTER INDEX %s SET (autosummarize = %s)', index, CASE WHEN open THEN 'off' ELSE 'on' END);
        told := told + 1;
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
