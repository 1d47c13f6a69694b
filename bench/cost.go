package main

import (
	"context"
	"errors"
	"log/slog"

	"weir/e2e/harness"
	"weir/services/consumer"
	"weir/services/shared/config"
)

// measureCost drains with rollups and without, one after the other. Both consumers run
// in this process, as nobody can switch rollups off by a setting.
func measureCost(ctx context.Context, servers *harness.Servers, payloads []string, f *figures, say func(string, ...any)) error {
	var rates [2]float64
	for i, uncounted := range []bool{false, true} {
		var err error
		rates[i], err = measureDrain(ctx, servers, func(ctx context.Context, box *harness.Sandbox) (drainer, error) {
			return startInside(ctx, box, uncounted)
		}, payloads, f)
		if err != nil {
			return err
		}
	}
	cost := 1 - rates[0]/rates[1]
	f.Runs.RollupCost.add(cost)
	say("rollups: %.0f events/s with them, %.0f without: %.0f%% of the time", rates[0], rates[1], 100*cost)
	return nil
}

func startInside(ctx context.Context, box *harness.Sandbox, uncounted bool) (drainer, error) {
	ctx, cancel := context.WithCancel(ctx)
	settings := map[string]string{
		"REDIS_URL": box.RedisURL, "POSTGRES_URL": box.PostgresURL, "STREAM_NAME": box.StreamName,
		"CONSUMER_PORT": "0", "CONSUMER_NAME": "bench",
	}
	var c consumer.Config
	if err := config.Load(&c, func(name string) (string, bool) { v, ok := settings[name]; return v, ok }); err != nil {
		cancel()
		return drainer{}, err
	}
	c.Logger, c.Uncounted = slog.New(slog.DiscardHandler), uncounted
	addresses := make(chan string, 1)
	c.Listening = func(address string) { addresses <- address }
	ended, result := make(chan struct{}), error(nil)
	go func() {
		defer close(ended)
		result = consumer.Run(ctx, c)
	}()
	var address string
	select {
	case address = <-addresses:
	case <-ended:
		cancel()
		return drainer{}, result
	}
	return drainer{url: "http://" + address, resumed: func() {}, ended: ended, counted: !uncounted, stop: func(stopping context.Context, _ *figures) error {
		cancel()
		select {
		case <-ended:
			return result
		case <-stopping.Done():
			return errors.New("the consumer does not stop")
		}
	}}, nil
}
