-- Autovacuum comes by a table whenever a fifth of its rows are new, reads these and marks
-- their pages as visible to all, which writes them once more. For a chunk that is still
-- being filled that is work at the wrong time: at 90,000 events/s it went on for more than
-- a minute, and block ranges could not be summarized meanwhile, as it holds the lock.
-- Nothing waits for it: rows are never changed, and are far from the age at which
-- PostgreSQL must freeze them. So it comes when the chunk is full. Dead rows, which a
-- failed batch leaves, are vacuumed as before.

-- +goose Up

-- Tells each chunk by itself: the table's own options are for new chunks and all others
-- alike, and they are somebody else's to choose. It takes the owner's rights. Returns how
-- many chunks were told.
-- +goose StatementBegin
CREATE FUNCTION vacuum_full_chunks_only() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    later CONSTANT text := 'autovacuum_vacuum_insert_threshold=-1';
    chunk regclass;
    open  boolean;
    told  integer := 0;
BEGIN
    FOR chunk, open IN
        SELECT r.oid::regclass, c.range_end > now()
        FROM timescaledb_information.chunks c
        JOIN pg_class r ON r.oid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
        WHERE c.hypertable_schema = current_schema() AND c.hypertable_name = 'events'
          AND (c.range_end > now()) <> (later = ANY (coalesce(r.reloptions, '{}')))
    LOOP
        IF open THEN
            EXECUTE format('ALTER TABLE %s SET (%s)', chunk, later);
        ELSE
            EXECUTE format('ALTER TABLE %s RESET (autovacuum_vacuum_insert_threshold)', chunk);
        END IF;
        told := told + 1;
    END LOOP;
    RETURN told;
END $$;
-- +goose StatementEnd

-- Summarizes all ranges that are not, in chunks that are being filled or were until an hour
-- ago, and returns how many. Finding them reads the index's map: 8 KB for some 1,300 ranges.
-- +goose StatementBegin
CREATE FUNCTION summarize_forgotten_events() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    chunk regclass;
    index regclass;
    done  integer := 0;
BEGIN
    FOR chunk, index IN
        SELECT i.indrelid, i.indexrelid
        FROM timescaledb_information.chunks c
        JOIN pg_index i ON i.indrelid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
        JOIN pg_class r ON r.oid = i.indexrelid
        JOIN pg_am a ON a.oid = r.relam AND a.amname = 'brin'
        WHERE c.hypertable_schema = current_schema() AND c.hypertable_name = 'events'
          AND c.range_start <= now() AND c.range_end > now() - interval '1 hour'
    LOOP
        BEGIN
            EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE NOWAIT', chunk);
            done := done + brin_summarize_new_values(index);
        EXCEPTION WHEN lock_not_available THEN
            CONTINUE; -- VACUUM is at it, which ends by summarizing
        END;
    END LOOP;
    RETURN done;
END $$;
-- +goose StatementEnd

ALTER FUNCTION weir_grant() RENAME TO weir_grant_11;
-- +goose StatementBegin
CREATE FUNCTION weir_grant() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM weir_grant_11();
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_writer') THEN
        GRANT EXECUTE ON FUNCTION vacuum_full_chunks_only(), summarize_forgotten_events() TO weir_writer;
    END IF;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['weir_grant()', 'vacuum_full_chunks_only()', 'summarize_forgotten_events()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %s, pg_temp', f, current_setting('search_path'));
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END $$;
-- +goose StatementEnd
SELECT weir_grant();

-- +goose Down
DROP FUNCTION weir_grant();
ALTER FUNCTION weir_grant_11() RENAME TO weir_grant;
DROP FUNCTION summarize_forgotten_events();
DROP FUNCTION vacuum_full_chunks_only();
