-- A block range index knows nothing of the blocks that were filled since somebody
-- summarized them, so that every question reads all of these. Autovacuum comes by once a
-- minute, also where autosummarize is on; with 2,000 events/s a page of the newest events
-- read up to 120,000 rows by then. The consumer calls this once a second instead; it takes the
-- owner's rights, as only the owner may summarize.

-- +goose Up

-- Returns how many ranges it summarized, newest first, at most 500: what remains when
-- more were filled is autovacuum's. Ranges that are still being filled are left out, as
-- every row that comes into a summarized range may change its summary, which costs more
-- than reading them; two behind the last are for writers that fill blocks side by side.
-- +goose StatementBegin
CREATE FUNCTION summarize_newest_events() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    pages CONSTANT bigint := 32; -- per range, as events_time has it
    chunk regclass;
    index regclass;
    block bigint;
    known integer;
    done  integer := 0;
BEGIN
    FOR chunk, index IN
        SELECT i.indrelid, i.indexrelid
        FROM timescaledb_information.chunks c
        JOIN pg_index i ON i.indrelid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
        JOIN pg_class r ON r.oid = i.indexrelid
        JOIN pg_am a ON a.oid = r.relam AND a.amname = 'brin'
        WHERE c.hypertable_schema = current_schema() AND c.hypertable_name = 'events'
          AND c.range_start <= now() AND c.range_end > now() - interval '1 minute'
    LOOP
        BEGIN
            EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE NOWAIT', chunk);
        EXCEPTION WHEN lock_not_available THEN
            CONTINUE; -- VACUUM is at it, which ends by summarizing
        END;
        block := (pg_relation_size(chunk) / current_setting('block_size')::bigint / pages - 3) * pages;
        known := 0; -- autosummarize may have done some and forgotten others
        WHILE block >= 0 AND known < 16 AND done < 500 LOOP
            IF brin_summarize_range(index, block) = 0 THEN
                known := known + 1;
            ELSE
                done := done + 1;
                known := 0;
            END IF;
            block := block - pages;
        END LOOP;
    END LOOP;
    RETURN done;
END $$;
-- +goose StatementEnd

ALTER FUNCTION weir_grant() RENAME TO weir_grant_9;
-- +goose StatementBegin
CREATE FUNCTION weir_grant() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM weir_grant_9();
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_writer') THEN
        GRANT EXECUTE ON FUNCTION summarize_newest_events() TO weir_writer;
    END IF;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['weir_grant()', 'summarize_newest_events()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %s, pg_temp', f, current_setting('search_path'));
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END $$;
-- +goose StatementEnd
SELECT weir_grant();

-- +goose Down
DROP FUNCTION weir_grant();
ALTER FUNCTION weir_grant_9() RENAME TO weir_grant;
DROP FUNCTION summarize_newest_events();
