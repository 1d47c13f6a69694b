package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"weir/e2e/harness"
	"weir/migrations"
	"weir/services/shared/event"
	"weir/services/shared/redisclient"
)

// rawCopy copies the same rows into the same schema, each connection its share.
func (d *drainage) rawCopy(ctx context.Context, connections int) (rate float64, err error) {
	box, err := d.servers.Sandbox(ctx, "copy")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, box.Close(context.WithoutCancel(ctx))) }()
	if _, err := migrations.Up(ctx, box.PostgresURL); err != nil {
		return 0, err
	}
	conns := make([]*pgx.Conn, connections)
	for i := range conns {
		if conns[i], err = pgx.Connect(ctx, box.PostgresURL); err != nil {
			return 0, err
		}
		defer conns[i].Close(context.WithoutCancel(ctx))
	}
	// The connections take turns, as consumers do: each batch is of one stretch of time.
	batches := make(chan []event.Event, len(d.rows)/d.copyBatch+1)
	for lo := 0; lo < len(d.rows); lo += d.copyBatch {
		batches <- d.rows[lo:min(lo+d.copyBatch, len(d.rows))]
	}
	close(batches)
	if err := checkpoint(ctx, box.PostgresURL); err != nil {
		return 0, err
	}
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, conn := range conns {
		group.Go(func() error {
			for rows := range batches {
				if err := copyRows(ctx, conn, rows); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	return float64(len(d.rows)) / time.Since(start).Seconds(), err
}

func copyRows(ctx context.Context, conn *pgx.Conn, rows []event.Event) error {
	columns := []string{"id", "time", "type", "source", "user_id", "anonymous_id", "session_id", "path", "referrer", "country", "device", "browser", "os", "value", "currency", "properties"}
	row, i := make([]any, len(columns)), 0
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"events"}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		if i == len(rows) {
			return nil, nil
		}
		fillRow(row, &rows[i])
		i++
		return row, nil
	}))
	return err
}

func fillRow(row []any, e *event.Event) {
	row[0], row[1], row[2], row[3] = [16]byte(e.ID), e.Time, e.Type, e.Source
	for i, s := range []string{e.UserID, e.AnonymousID, e.SessionID, e.Path, e.Referrer, e.Country, e.Device, e.Browser, e.OS} {
		row[4+i] = orNull(s)
	}
	row[13], row[14], row[15] = nil, orNull(e.Currency), nil
	if e.HasValue {
		row[13] = float64(e.Value) / event.Micro
	}
	if e.Properties != "" {
		row[15] = []byte(e.Properties)
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// readSize is how many entries a read brings: what the consumer takes by default.
const readSize = 2000

// addAlone times XADD in pipelines, by one connection.
func (d *drainage) addAlone(ctx context.Context) (rate float64, err error) {
	err = d.stream(ctx, func(client redis.UniversalClient, key string, filled time.Duration) error {
		rate = float64(len(d.payloads)) / filled.Seconds()
		return nil
	})
	return rate, err
}

// readAlone times reading the stream without a group, as the consumer does.
func (d *drainage) readAlone(ctx context.Context) (rate float64, err error) {
	err = d.stream(ctx, func(client redis.UniversalClient, key string, _ time.Duration) error {
		start, last, n := time.Now(), "0", 0
		for n < len(d.payloads) {
			got, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{key, last}, Count: readSize, Block: -1}).Result()
			if err != nil {
				return err
			}
			messages := got[0].Messages
			n, last = n+len(messages), messages[len(messages)-1].ID
		}
		rate = float64(n) / time.Since(start).Seconds()
		return nil
	})
	return rate, err
}

// readGroupAlone times XREADGROUP with XACK, as most consumers of streams work.
func (d *drainage) readGroupAlone(ctx context.Context) (rate float64, err error) {
	err = d.stream(ctx, func(client redis.UniversalClient, key string, _ time.Duration) error {
		if err := client.XGroupCreate(ctx, key, "alone", "0").Err(); err != nil {
			return err
		}
		start, n := time.Now(), 0
		for n < len(d.payloads) {
			got, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "alone", Consumer: "c", Streams: []string{key, ">"}, Count: readSize, Block: -1}).Result()
			if err != nil {
				return err
			}
			ids := make([]string, len(got[0].Messages))
			for i, m := range got[0].Messages {
				ids[i] = m.ID
			}
			if err := client.XAck(ctx, key, "alone", ids...).Err(); err != nil {
				return err
			}
			n += len(ids)
		}
		rate = float64(n) / time.Since(start).Seconds()
		return nil
	})
	return rate, err
}

// stream fills a stream, hands it on with how long that took, and removes it.
func (d *drainage) stream(ctx context.Context, use func(client redis.UniversalClient, key string, filled time.Duration) error) (err error) {
	var box *harness.Sandbox
	if box, err = d.servers.Sandbox(ctx, "alone"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Close(context.WithoutCancel(ctx))) }()
	client, err := redisclient.New(redisclient.Config{URL: box.RedisURL})
	if err != nil {
		return err
	}
	defer client.Close()
	if err := shorten(ctx, client); err != nil {
		return err
	}
	start := time.Now()
	if err := fill(ctx, client, box.StreamName, d.payloads); err != nil {
		return fmt.Errorf("fill the stream: %w", err)
	}
	return use(client, box.StreamName, time.Since(start))
}
