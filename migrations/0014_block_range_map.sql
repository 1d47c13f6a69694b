-- PostgreSQL 17 loses rows in a block range index whose map grows while somebody inserts. A
-- statement looks up once, at its first row, how long the map is (brin.c's BrinInsertState
-- keeps a BrinRevmap, which keeps rm_lastRevmapPage), and takes each range beyond that for one
-- that nobody has summarized, so that its rows need not be told to anybody. If the map has
-- grown since, and such a range was summarized, no search by time finds these rows any more.
-- Seen with 17.12: 1,074 rows of 7.8 million. A page of the map is for 1,360 ranges, 340 MB of
-- events.
--
-- So the map of a chunk grows only while nobody inserts into it, for as long as one range takes;
-- and by the function below only, not by autosummarize, nor by VACUUM, which does it when it
-- cleans up indexes. What that leaves behind are the index entries of dead rows, which here are
-- those of batches that failed.

-- +goose Up

ALTER TABLE events SET (vacuum_index_cleanup = off); -- and its chunks, those to come too

-- Of the index of a chunk, the ranges from block first up to, and without, block beyond are
-- summarized, by the function below. Another file is another index.
CREATE TABLE summarized_ranges (
    name   text        PRIMARY KEY,
    file   oid         NOT NULL,
    first  bigint      NOT NULL,
    beyond bigint      NOT NULL,
    again  timestamptz NOT NULL -- not before
);

ALTER FUNCTION summarize_newest_events() RENAME TO summarize_newest_events_10;
ALTER FUNCTION summarize_forgotten_events() RENAME TO summarize_forgotten_events_12;
ALTER FUNCTION autosummarize_full_chunks_only() RENAME TO autosummarize_full_chunks_only_13;

-- Returns how many ranges it summarized, the newest chunk's first: in their order those that
-- were filled since the last time, for a second at most, then older ones, up to 500. Ranges that
-- are still being filled are left out, as every row that comes into a summarized range may change
-- its summary, which costs more than reading them; two behind the last are for writers that fill
-- blocks side by side. What others have summarized beyond the map's first page, which the index
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
                known := (index::text, pg_relation_filenode(index), last, last, '-infinity');
            END IF;
            IF over AND known.beyond > last THEN
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
        INSERT INTO summarized_ranges VALUES (known.*)
        ON CONFLICT (name) DO UPDATE SET file = known.file, first = known.first, beyond = known.beyond, again = known.again;
    END LOOP;
    DELETE FROM summarized_ranges WHERE to_regclass(name) IS NULL; -- dropped with their chunks
    RETURN done;
END $$;
-- +goose StatementEnd

-- Tells indexes that the version before had told to summarize by themselves not to; returns how
-- many. It takes the owner's rights, and a lock (ACCESS EXCLUSIVE) on each until it ends. Who does
-- not get one soon goes on next time.
-- +goose StatementBegin
CREATE FUNCTION autosummarize_no_chunk() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    index regclass;
    told  integer := 0;
BEGIN
    FOR index IN
        SELECT r.oid
        FROM timescaledb_information.chunks c
        JOIN pg_index i ON i.indrelid = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
        JOIN pg_class r ON r.oid = i.indexrelid AND 'autosummarize=on' = ANY (r.reloptions)
        WHERE c.hypertable_schema = current_schema() AND c.hypertable_name = 'events'
    LOOP
        BEGIN
            EXECUTE format('ALTER INDEX %s SET (autosummarize = off)', index);
            told := told + 1;
        EXCEPTION WHEN lock_not_available THEN
            EXIT;
        END;
    END LOOP;
    RETURN told;
END $$;
-- +goose StatementEnd

-- What consumers of the version before still call.
CREATE FUNCTION summarize_forgotten_events() RETURNS integer LANGUAGE sql AS 'SELECT 0';
CREATE FUNCTION autosummarize_full_chunks_only() RETURNS integer LANGUAGE sql AS 'SELECT 0';

ALTER FUNCTION weir_grant() RENAME TO weir_grant_13;
-- +goose StatementBegin
CREATE FUNCTION weir_grant() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM weir_grant_13();
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_writer') THEN
        GRANT EXECUTE ON FUNCTION autosummarize_no_chunk() TO weir_writer;
    END IF;
END $$;
-- +goose StatementEnd
ALTER FUNCTION summarize_newest_events() SET lock_timeout = '500ms'; -- half of deadlock_timeout: it is this that gives way
-- +goose StatementBegin
DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['weir_grant()', 'summarize_newest_events()', 'autosummarize_no_chunk()', 'summarize_forgotten_events()', 'autosummarize_full_chunks_only()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %s, pg_temp', f, current_setting('search_path'));
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_writer') THEN
        REVOKE ALL ON summarized_ranges FROM weir_writer;
        REVOKE EXECUTE ON FUNCTION summarize_newest_events_10(), summarize_forgotten_events_12(), autosummarize_full_chunks_only_13() FROM weir_writer;
    END IF;
END $$;
-- +goose StatementEnd
SELECT weir_grant();

-- +goose Down
DROP FUNCTION weir_grant();
ALTER FUNCTION weir_grant_13() RENAME TO weir_grant;
DROP FUNCTION autosummarize_no_chunk();
DROP FUNCTION summarize_newest_events();
DROP FUNCTION summarize_forgotten_events();
DROP FUNCTION autosummarize_full_chunks_only();
ALTER FUNCTION summarize_newest_events_10() RENAME TO summarize_newest_events;
ALTER FUNCTION summarize_forgotten_events_12() RENAME TO summarize_forgotten_events;
ALTER FUNCTION autosummarize_full_chunks_only_13() RENAME TO autosummarize_full_chunks_only;
SELECT weir_grant();
DROP TABLE summarized_ranges;
ALTER TABLE events RESET (vacuum_index_cleanup);
