-- What the services may do at most. weir_writer is for the consumer, weir_reader for the
-- api: groups, of which the roles that log in are made members. They belong to the whole
-- cluster, so that another database may have made them already, or be just at it.

-- +goose Up

-- +goose StatementBegin
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['weir_writer', 'weir_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL; -- another database was faster
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role % was not created, as % may not: have it created, then SELECT weir_grant()', name, current_user;
            END;
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd

-- The work on chunks that only a table's owner may do, for the consumer: with the owner's
-- rights, and no more than it needs. Nothing that is younger than a day is ever dropped.

-- +goose StatementBegin
CREATE FUNCTION drop_aged(relation text, before timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF before > now() - interval '1 day' THEN
        RAISE insufficient_privilege USING MESSAGE = 'what is younger than a day is not dropped';
    END IF;
    PERFORM drop_chunks(format('%I', relation)::regclass, older_than => before);
END $$;
-- +goose StatementEnd

-- An age of 0 takes the policy away.
-- +goose StatementBegin
CREATE FUNCTION set_retention_policy(relation text, age interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF age > '0' AND age < interval '1 day' THEN
        RAISE insufficient_privilege USING MESSAGE = 'what is younger than a day is not dropped';
    END IF;
    PERFORM remove_retention_policy(format('%I', relation)::regclass, if_exists => true);
    IF age > '0' THEN
        PERFORM add_retention_policy(format('%I', relation)::regclass, drop_after => justify_hours(age), schedule_interval => interval '1 hour');
    END IF;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION set_columnstore_policy(relation text, age interval, segment text, ordering text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    EXECUTE format('CALL remove_columnstore_policy(%L, if_exists => true)', relation);
    IF age > '0' THEN
        -- Only then, as somebody may have chosen another order; and because it takes the
        -- table's strongest lock, once: writers of a moment may put it off to a later round.
        IF NOT (SELECT compression_enabled FROM timescaledb_information.hypertables
                WHERE hypertable_schema = current_schema() AND hypertable_name = relation) THEN
            EXECUTE format('ALTER TABLE %I SET (timescaledb.enable_columnstore, timescaledb.segmentby = %L, timescaledb.orderby = %L)',
                relation, segment, ordering);
        END IF;
        EXECUTE format('CALL add_columnstore_policy(%L, after => interval %L)', relation, age);
    END IF;
END $$;
-- +goose StatementEnd

-- weir_grant gives the groups their rights. It may be run again, by the owner of the
-- tables: when the groups came later than this migration.
-- +goose StatementBegin
CREATE FUNCTION weir_grant() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO weir_reader', current_schema());
        GRANT SELECT ON goose_db_version, events, dead_letters, retention,
            rollup_keys, rollup_deltas, rollup_minute, rollup_hour, rollup_day, minutes, hours, days,
            rollup_user_deltas, users_minute, users_hour, users_day, user_minutes, user_hours, user_days TO weir_reader;
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO weir_reader', current_schema());
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_writer') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO weir_writer', current_schema());
        GRANT SELECT ON goose_db_version, minutes, hours, days, user_minutes, user_hours, user_days TO weir_writer;
        GRANT SELECT, INSERT ON rollup_keys TO weir_writer;
        -- DELETE on events is for the row that makes a chunk ahead of time.
        GRANT SELECT, INSERT, DELETE ON events, rollup_deltas, rollup_user_deltas TO weir_writer;
        GRANT SELECT, INSERT, UPDATE ON retention TO weir_writer;
        GRANT SELECT, INSERT, UPDATE, DELETE ON dead_letters, rollup_minute, rollup_hour, rollup_day,
            users_minute, users_hour, users_day TO weir_writer;
        GRANT EXECUTE ON FUNCTION drop_aged(text, timestamptz), set_retention_policy(text, interval),
            set_columnstore_policy(text, interval, text, text) TO weir_writer;
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO weir_writer', current_schema());
    END IF;
END $$;
-- +goose StatementEnd

-- Names mean in these functions what they mean here, whoever calls: a table that a caller
-- made for itself (pg_temp) comes last.
-- +goose StatementBegin
DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['weir_grant()', 'drop_aged(text, timestamptz)', 'set_retention_policy(text, interval)',
                             'set_columnstore_policy(text, interval, text, text)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %s, pg_temp', f, current_setting('search_path'));
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END $$;
-- +goose StatementEnd

SELECT weir_grant();

-- +goose Down

-- The groups stay: other databases use them.
-- +goose StatementBegin
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['weir_writer', 'weir_reader'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I REVOKE ALL ON TABLES FROM %I', current_schema(), name);
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), name);
            EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I', current_schema(), name);
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd
DROP FUNCTION weir_grant();
DROP FUNCTION set_columnstore_policy(text, interval, text, text);
DROP FUNCTION set_retention_policy(text, interval);
DROP FUNCTION drop_aged(text, timestamptz);
