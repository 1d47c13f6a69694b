package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	"weir/e2e/harness"
	"weir/e2e/harness/defaults"
	"weir/services/consumer"
	"weir/services/shared/config"
)

// drainer is a consumer that drains.
type drainer struct {
	url     string // of its API
	resumed func() // may run beside the draining
	used    func() // notes what it used; nil: nothing is known
	stop    func(context.Context) error
	kill    func() // after stop it changes nothing
	ended   <-chan struct{}
	said    func() string // the last of it
	counted bool
}

// startProcess starts the consumer as users run it.
func (d *drainage) startProcess(ctx context.Context, box *harness.Sandbox) (drainer, error) {
	p, err := d.binaries.Start(ctx, "weir-consumer", slices.Concat(defaults.Settings(), []string{
		"REDIS_URL=" + box.RedisURL, "POSTGRES_URL=" + box.PostgresURL, "STREAM_NAME=" + box.StreamName,
		"CONSUMER_PORT=0", "CONSUMER_NAME=bench", "PPROF=true",
	}, d.settings), io.Discard)
	if err != nil {
		return drainer{}, err
	}
	resumed := func() {
		if d.profile == "" {
			return
		}
		if err := fetch(ctx, p.URL+"/debug/pprof/profile?seconds=4", d.profile); err != nil {
			d.say("no profile: %v", err)
		}
	}
	used := func() {
		rss, cpu := rig.Peak(p.PID())
		d.Add("consumer_max_rss_bytes", report.Bytes, report.Less, float64(rss))
		d.Add("consumer_cpu_us_per_event", report.Microseconds, report.Less, cpu*1e6/float64(d.events))
	}
	return drainer{url: p.URL, resumed: resumed, used: used, ended: p.Exited(), said: p.Said, counted: true, stop: p.Stop, kill: p.Kill}, nil
}

// measureCost drains with rollups and without, one after the other. Both consumers run
// in this process, as nobody can switch rollups off by a setting.
func (d *drainage) measureCost(ctx context.Context) error {
	var rates [2]float64
	for i, uncounted := range []bool{false, true} {
		d.status("draining inside this process, rollups: %v", !uncounted)
		var err error
		rates[i], err = d.drain(ctx, func(ctx context.Context, box *harness.Sandbox) (drainer, error) {
			return startInside(ctx, box, uncounted)
		})
		if err != nil {
			return err
		}
	}
	cost := 1 - rates[0]/rates[1]
	d.Add("rollup_cost_share", report.Share, report.Less, cost)
	d.say("rollups: %.0f events/s with them, %.0f without: %.0f%% of the time", rates[0], rates[1], 100*cost)
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
	kill := func() { cancel(); <-ended }
	said := func() string { return "(its log is dropped)" }
	return drainer{url: "http://" + address, resumed: func() {}, ended: ended, said: said, counted: !uncounted, kill: kill, stop: func(stopping context.Context) error {
		cancel()
		select {
		case <-ended:
			return result
		case <-stopping.Done():
			return errors.New("the consumer does not stop")
		}
	}}, nil
}

// fetch writes what is at an address to a file.
func fetch(ctx context.Context, url, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, response.Body)
	return errors.Join(err, f.Close())
}
