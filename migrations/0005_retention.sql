-- How long each hypertable keeps its rows, written by the consumer that sees to it,
-- before anything is dropped: whoever compares tables must not take for a difference
-- what is one of age.

-- +goose Up
CREATE TABLE retention (
    relation       text PRIMARY KEY,
    keep           interval,   -- older rows are dropped by and by; NULL keeps all
    dropped_before timestamptz -- what earlier, shorter ages may have dropped; NULL is nothing
);

-- +goose Down
DROP TABLE retention;
