-- While traffic rests, the newest rows are in ranges that the function of 0014_block_range_map.sql
-- leaves out, and every question about these minutes reads them: pages of events ten times over, as
-- they look for where the rows end.

-- +goose Up
ALTER TABLE summarized_ranges ADD COLUMN at timestamptz NOT NULL DEFAULT now(); -- when the last of them was

ALTER FUNCTION summarize_newest_events() RENAME TO summarize_newest_events_14;

-- Returns how many ranges it summarized, the newest chunk's first: in their order those that
-- were filled since the last time, for a second at most, then older ones, up to 500. Ranges that
-- are still being filled are left out, as every row that comes into a summarized range may change
-- its summary, which costs more than reading them; two behind the last are for writers that fill
-- blocks side by side. When none was filled for ten seconds, few rows come, and they too are
-- summarized. What others have summarized beyond the map's first page, which the index
-- is made with, is summarized anew, as rows may be missing.
-- +goose StatementBegin
CREATE FUNCTION summarize_newest_events() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    block_size CONSTANT bigint := current_setting('block_size');
    until CONSTANT timestamptz := clock_timestamp() + interval '1 second';
    chunk regclass;
    index regclass;
    pages bigint; -- of a range
    over  boolean;
    map   bigint; -- blocks that a page of the map is for
    ends  bigint; -- first block of the last range
    last  bigint; -- of the last range to summarize
    block bigint;
    grows boolean;
    known summarized_ranges;
    done  integer := 0;
BEGIN
    FOR chunk, index, pages, over IN
        SELECT i.indrelid, i.indexrelid,
            coalesce((SELECT option_value FROM pg_options_to_table(r.reloptions) WHERE option_name = 'pages_per_range')::bigint, 128),
            c.range_end < now() - interval '1 minute'
        FROM timescaledb_information.chunks c
        JOIN pg_index i ON i.indrelid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass AND i.indisvalid
        JOIN pg_class r ON r.oid = i.indexrelid
        JOIN pg_am a ON a.oid = r.relam AND a.amname = 'brin'
        WHERE c.hypertable_schema = current_schema() AND c.hypertable_name = 'events'
        ORDER BY c.range_start DESC
    LOOP
        EXIT WHEN done >= 500 OR clock_timestamp() > until;
        BEGIN
            ends := (pg_relation_size(chunk) / block_size - 1) / pages * pages;
            last := ends - 3 * pages;
            SELECT * INTO known FROM summarized_ranges s WHERE s.name = index::text AND s.file = pg_relation_filenode(index);
            IF NOT FOUND THEN
                known := (index::text, pg_relation_filenode(index), last, last, '-infinity', now());
            END IF;
            IF (over OR known.at < now() - interval '10 seconds') AND known.beyond > last THEN
                last := ends; -- nothing much came since the last time
            END IF;
            CONTINUE WHEN last IS NULL OR last < 0 OR known.first = 0 AND known.beyond > last OR known.again > now();
            EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE NOWAIT', chunk);
            CONTINUE WHEN pg_relation_size(chunk) / block_size <= last; -- it was cut short in between
        EXCEPTION WHEN lock_not_available OR undefined_table THEN
            CONTINUE; -- VACUUM is at it, or another lock is held that keeps it away; or it was dropped
        END;
        map := (block_size - 32) / 6 * pages; -- 32 bytes are the page's own, an entry takes 6 (brin_page.h)
        LOOP
            IF known.beyond <= last AND clock_timestamp() < until THEN
                block := known.beyond;
            ELSIF known.beyond > last AND known.first > 0 AND done < 500 THEN
                block := known.first - pages;
            ELSE
                EXIT;
            END IF;
            -- Of a chunk that is not known yet it is not known either how long the map is.
            grows := block >= map AND (known.first = known.beyond OR block = known.beyond AND block % map = 0);
            BEGIN
                IF grows THEN
                    EXECUTE format('LOCK TABLE %s IN SHARE MODE', chunk); -- waits for writers, and holds up those to come
                END IF;
                IF brin_summarize_range(index, block) = 0 AND block >= map THEN
                    PERFORM brin_desummarize_range(index, block);
                    PERFORM brin_summarize_range(index, block);
                END IF;
                IF grows THEN
                    RAISE SQLSTATE 'WEIR1'; -- gives back the lock; an index does not go back
                END IF;
            EXCEPTION
                WHEN SQLSTATE 'WEIR1' THEN NULL;
                WHEN lock_not_available THEN
                    known.again := clock_timestamp() + interval '10 seconds';
                    RAISE WARNING 'somebody writes to % for long: until it has ended, its newest rows are found slowly', chunk;
                    EXIT;
            END;
            known.first := least(known.first, block);
            known.beyond := greatest(known.beyond, block + pages);
            done := done + 1;
        END LOOP;
        known.at := now();
        INSERT INTO summarized_ranges VALUES (known.*)
        ON CONFLICT (name) DO UPDATE SET file = known.file, first = known.first, beyond = known.beyond, again = known.again, at = known.at;
    END LOOP;
    DELETE FROM summarized_ranges WHERE to_regclass(name) IS NULL; -- dropped with their chunks
    RETURN done;
END $$;
-- +goose StatementEnd

ALTER FUNCTION summarize_newest_events() SET lock_timeout = '500ms'; -- half of deadlock_timeout: it is this that gives way
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION summarize_newest_events() SET search_path = %s, pg_temp', current_setting('search_path'));
    REVOKE EXECUTE ON FUNCTION summarize_newest_events() FROM PUBLIC;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_writer') THEN
        REVOKE EXECUTE ON FUNCTION summarize_newest_events_14() FROM weir_writer;
    END IF;
END $$;
-- +goose StatementEnd
SELECT weir_grant();

-- +goose Down
DROP FUNCTION summarize_newest_events();
ALTER FUNCTION summarize_newest_events_14() RENAME TO summarize_newest_events;
ALTER TABLE summarized_ranges DROP COLUMN at;
SELECT weir_grant();
