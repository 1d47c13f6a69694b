-- Entries of the stream that cannot be stored, kept until somebody replays or
-- discards them. They commit with the batch that they came in.

-- +goose Up
CREATE TABLE dead_letters (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream     text        NOT NULL,
    stream_id  text        NOT NULL,
    payload    bytea       NOT NULL,
    stage      text        NOT NULL, -- decode, validate or store
    reason     text        NOT NULL,
    attempts   integer     NOT NULL,
    arrived_at timestamptz NOT NULL, -- when the entry was added to the stream
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (stream, stream_id)       -- a redelivered entry is the same dead letter
);
CREATE INDEX dead_letters_created_at ON dead_letters (created_at);

-- +goose Down
DROP TABLE dead_letters;
