-- The raw events. One row per (id, time), however often an event arrives.

-- +goose Up
CREATE EXTENSION IF NOT EXISTS timescaledb;

CREATE TABLE events (
    id           uuid        NOT NULL,
    time         timestamptz NOT NULL,
    type         text        NOT NULL,
    source       text        NOT NULL,
    user_id      text,
    anonymous_id text,
    session_id   text,
    path         text,
    referrer     text,
    country      text,
    device       text,
    browser      text,
    os           text,
    value        numeric,
    currency     text,
    properties   jsonb
);

SELECT create_hypertable('events', 'time',
    chunk_time_interval => interval '1 day',
    create_default_indexes => false);

-- id first: ids that Weir makes sort by time, so inserts stay at the right-hand
-- edge and comparing 16 bytes decides; the other order is 40% slower to fill.
CREATE UNIQUE INDEX events_id_time ON events (id, time);

-- What reads raw rows reads them by time. Rows arrive nearly in order, so a block
-- range index does it at next to no cost for writers; multi-minmax, because one
-- late event among the rows would spoil a plain minimum.
CREATE INDEX events_time ON events
    USING brin (time timestamptz_minmax_multi_ops)
    WITH (pages_per_range = 32, autosummarize = on);

-- +goose Down
DROP TABLE events;
