-- The roles that the services log in as: weir_consumer, which may write, and weir_api,
-- which may read (migration 0008 says what). To be run by who may make roles, after
-- weir-migrate, as often as one likes; it sets the passwords to those given:
--
--   PGOPTIONS='-c weir.consumer_password=... -c weir.api_password=...' psql -f roles.sql
DO $$
DECLARE
    login text;
    part_of text;
BEGIN
    FOR login, part_of IN VALUES ('consumer', 'weir_writer'), ('api', 'weir_reader') LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'weir_' || login) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', 'weir_' || login);
        END IF;
        EXECUTE format('GRANT %I TO %I', part_of, 'weir_' || login);
        EXECUTE format('ALTER ROLE %I PASSWORD %L', 'weir_' || login, current_setting('weir.' || login || '_password'));
    END LOOP;
END $$;
