package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	"weir/openapi/client"
	control "weir/openapi/client/consumer"
)

// sizes measures what an event takes: in Redis while it waits, in the table, in the
// rollups, and compressed where the edition can. plan works with these.
func (x *experiment) sizes(ctx context.Context, r *rig.Rig) error {
	x.status("measuring sizes")
	if err := x.redisSize(ctx, r); err != nil {
		return fmt.Errorf("measure what an event takes in Redis: %w", err)
	}
	if err := r.Drain(ctx); err != nil {
		return err
	}
	return measureTables(ctx, r, x.Report)
}

// redisSize lets events wait, and looks at the memory of their streams.
func (x *experiment) redisSize(ctx context.Context, r *rig.Rig) error {
	each := func(do func(*control.ClientWithResponses) (control.Status, error)) error {
		for i := range r.Consumers() {
			c, err := control.NewClientWithResponses(r.Program(rig.ConsumerName(i)).URL)
			if err != nil {
				return err
			}
			if _, err := do(c); err != nil {
				return err
			}
		}
		return nil
	}
	pause := func(c *control.ClientWithResponses) (control.Status, error) {
		return client.Answer(c.PauseWithResponse(ctx))
	}
	resume := func(c *control.ClientWithResponses) (control.Status, error) {
		return client.Answer(c.ResumeWithResponse(ctx))
	}
	if err := each(pause); err != nil {
		return err
	}
	const rate, lasting = 5000, 3 * time.Second
	if _, err := r.Begin(ctx, rig.Load{Rate: rate, Even: true}); err != nil {
		return err
	}
	if err := x.wait(ctx, r, "measuring what an event takes in Redis", lasting); err != nil {
		return err
	}
	if _, err := r.End(ctx); err != nil {
		return err
	}
	entries, bytes, err := r.StreamSize(ctx)
	if err != nil {
		return err
	}
	if entries > 0 {
		x.Add("redis_bytes_per_event", report.Bytes, report.Less, float64(bytes)/float64(entries))
	}
	return each(resume)
}

// measureTables notes the sizes of the tables that hold the events and their counts.
func measureTables(ctx context.Context, r *rig.Rig, rep *report.Report) error {
	var rows, size, minutes int64
	err := r.Pool.QueryRow(ctx, `SELECT count(*), hypertable_size('events'),
		count(DISTINCT time_bucket('1 minute', time)) FROM events`).Scan(&rows, &size, &minutes)
	if err != nil {
		return fmt.Errorf("measure the table of events: %w", err)
	}
	if rows == 0 {
		return nil
	}
	rep.Add("raw_bytes_per_event", report.Bytes, report.Less, float64(size)/float64(rows))
	for _, grain := range []string{"minute", "hour", "day"} {
		size, err := rollupSize(ctx, r, grain)
		if err != nil {
			return err
		}
		rep.Add("rollup_bytes_per_"+grain, report.Bytes, report.Less, size)
	}
	return compressed(ctx, r, rep, rows)
}

// rollupSize is what a bucket of a grain takes, counts and sets of users.
func rollupSize(ctx context.Context, r *rig.Rig, grain string) (bytes float64, err error) {
	// The log of deltas is folded by and by; so rows and buckets are of what is folded.
	err = r.Pool.QueryRow(ctx, strings.ReplaceAll(`SELECT (hypertable_size('rollup_$') + hypertable_size('users_$'))::float8 /
		greatest(1, (SELECT count(DISTINCT bucket) FROM rollup_$ WHERE dimension = 0))`, "$", grain)).Scan(&bytes)
	if err != nil {
		return 0, fmt.Errorf("measure the rollups: %w", err)
	}
	return bytes, nil
}

// compressed compresses what the consumer has the edition compress, where it can, and notes
// what is left: events, and counts by minute and hour.
func compressed(ctx context.Context, r *rig.Rig, rep *report.Report, rows int64) error {
	if !strings.Contains(r.Versions.TimescaleDB, "timescale") {
		rep.Note("TimescaleDB's Apache edition does not compress: sizes are of uncompressed data.")
		return nil
	}
	compress := func(table string) error {
		_, err := r.Pool.Exec(ctx, `SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks($1::regclass) c`, table)
		return err
	}
	var size int64
	err := compress("events")
	if err == nil {
		err = r.Pool.QueryRow(ctx, `SELECT sum(after_compression_total_bytes)::bigint FROM hypertable_compression_stats('events')`).Scan(&size)
	}
	if err != nil {
		rep.Note("compression was not measured: %v", err)
		return nil
	}
	rep.Add("compressed_bytes_per_event", report.Bytes, report.Less, float64(size)/float64(rows))
	for _, grain := range []string{"minute", "hour"} {
		if err := compress("rollup_" + grain); err != nil {
			rep.Note("compression of the rollups was not measured: %v", err)
			return nil
		}
		size, err := rollupSize(ctx, r, grain)
		if err != nil {
			return err
		}
		rep.Add("compressed_rollup_bytes_per_"+grain, report.Bytes, report.Less, size)
	}
	return nil
}
