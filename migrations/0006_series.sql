-- One key's course over hours: what a series of the largest groups reads. By the unique
-- index alone all keys of the dimension are passed over, a million and a half for a month
-- of 2,000 paths. A row is entered once, when its hour begins for its key; folding more
-- into it leaves the index as it is.

-- +goose Up
CREATE INDEX rollup_hour_series ON rollup_hour (dimension, key_id, bucket);

-- +goose Down
DROP INDEX rollup_hour_series;
