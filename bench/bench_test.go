package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"weir/bench/internal/report"
	"weir/bench/internal/rig"
	"weir/e2e/harness"
	"weir/openapi/client"
	control "weir/openapi/client/consumer"
)

func TestMain(m *testing.M) {
	if os.Getenv(audienceVariable) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	code := harness.Main(m)
	_ = os.RemoveAll(builtIn)
	os.Exit(code)
}

// built are the services, built once.
var built = sync.OnceValues(func() (b harness.Binaries, err error) {
	if builtIn, err = os.MkdirTemp("", "weir-bench-test-"); err != nil {
		return "", err
	}
	return harness.Build(context.Background(), builtIn)
})

var builtIn string

// small is a system on the test's servers.
func small(t *testing.T) system {
	t.Helper()
	binaries, err := built()
	require.NoError(t, err)
	dir := t.TempDir()
	return system{
		common:    common{json: filepath.Join(dir, "report.json"), html: filepath.Join(dir, "report.html")},
		consumers: 1, partitions: 1, servers: harness.Shared(t), binaries: binaries,
	}
}

// outcome checks what every run must leave behind, and returns its report.
func outcome(t *testing.T, c common, out *bytes.Buffer) *report.Report {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("report.schema.json")
	require.NoError(t, err)
	text, err := os.ReadFile(c.json)
	require.NoError(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	require.NoError(t, schema.Validate(document))
	r, err := report.Read(c.json)
	require.NoError(t, err)
	page, err := os.ReadFile(c.html)
	require.NoError(t, err)
	require.NotRegexp(t, `(?i)\b(src|href)\s*=|\burl\(|@import`, string(page), "the page must stand alone")
	require.Contains(t, string(page), "</html>")
	require.Contains(t, out.String(), "verdict")
	return r
}

func flags(name string) *flag.FlagSet { return flag.NewFlagSet(name, flag.ContinueOnError) }

func TestSweepFollowsEventsFromDueToQueryable(t *testing.T) {
	t.Parallel()
	o, out := sweepOptions{system: small(t), rates: rates{200, 400}, duration: 2 * time.Second, runs: 1}, &bytes.Buffer{}
	require.NoError(t, sweep(t.Context(), flags("sweep"), o, out), out)
	r := outcome(t, o.common, out)
	require.Equal(t, report.Valid, r.Verdict)
	require.Greater(t, r.Counts.Published, int64(1000))
	require.Len(t, r.Steps, 2)
	for i := range r.Steps {
		step := &r.Steps[i]
		for _, name := range []string{"achieved_events_per_second", "publish_delay_p99_seconds", "event_to_queryable_p99_seconds", "event_to_live_p99_seconds", "batch_events", "consumer_cpu_cores", "consumer_max_rss_bytes"} {
			require.Positive(t, step.Value(name), name)
		}
		require.GreaterOrEqual(t, step.Value("event_to_queryable_p50_seconds"), 0.001, "nothing is that fast: latency is from when it was due")
	}
	for _, name := range []string{"redis_bytes_per_event", "raw_bytes_per_event", "rollup_bytes_per_minute"} {
		f, ok := r.Figure(name)
		require.True(t, ok, name)
		require.Positive(t, f.Median, name)
	}
	// Where others use the machine too, two seconds may be too short for the consumer to keep
	// up, and then there is no plan.
	for i := range r.Steps {
		for k := range r.Steps[i].Figures {
			if f := &r.Steps[i].Figures[k]; f.Name == "written_events_per_second" {
				f.Median = r.Steps[i].Value("achieved_events_per_second")
			} else if f.Name == "backlog_slope_events_per_second" {
				f.Median = 0
			}
		}
	}
	require.NoError(t, r.WriteJSON(o.json))
	plans(t, o.json)
}

// plans makes a plan of a report.
func plans(t *testing.T, results string) {
	t.Helper()
	dir, out := t.TempDir(), &bytes.Buffer{}
	c := common{json: filepath.Join(dir, "plan.json"), html: filepath.Join(dir, "plan.html")}
	code := run(t.Context(), []string{"plan", "-rate", "200k", "-retention", "30d", "-results", results, "-json", c.json, "-html", c.html}, out, out)
	require.Zero(t, code, out)
	r := outcome(t, c, out)
	for _, name := range []string{"consumers", "partitions", "backpressure_max_memory_bytes", "redis_memory_bytes", "raw_disk_bytes"} {
		f, ok := r.Figure(name)
		require.True(t, ok, name)
		require.Positive(t, f.Median, name)
		require.NotEmpty(t, f.Formula, name)
	}
}

// TestAPlanPredictsARateFromOthers measures at two rates, predicts a third between them,
// and measures that.
func TestAPlanPredictsARateFromOthers(t *testing.T) {
	t.Parallel()
	measure := func(at ...float64) *report.Report {
		o, out := sweepOptions{system: small(t), rates: at, duration: 4 * time.Second, runs: 1}, &bytes.Buffer{}
		require.NoError(t, sweep(t.Context(), flags("sweep"), o, out), out)
		return outcome(t, o.common, out)
	}
	const third = 2000
	known, tried := []*report.Report{measure(500, 4000)}, measure(third)
	for _, name := range []string{"raw_bytes_per_event", "redis_bytes_per_event"} {
		predicted, ok := figure(known, name)
		require.True(t, ok, name)
		measured, _ := tried.Figure(name)
		require.InEpsilon(t, measured.Median, predicted, 0.2, name)
	}
	// Where others use the machine too, what a process gets is theirs to decide.
	for _, step := range append(known[0].Steps, tried.Steps...) {
		others := step.Value("machine_cpu_cores")
		for _, f := range step.Figures {
			if strings.HasSuffix(f.Name, "_cpu_cores") && f.Name != "machine_cpu_cores" {
				others -= f.Median
			}
		}
		if others > 0.3 {
			t.Logf("CPU is not compared: others used %.2f cores of this machine", others)
			return
		}
	}
	steps, err := steady(known)
	require.NoError(t, err)
	for _, name := range []string{rig.Consumer, rig.Postgres, rig.Redis} {
		m, ok := fit(steps, name)
		require.True(t, ok, name)
		require.InDelta(t, tried.Steps[0].Value(name+"_cpu_cores"), m.at(third), 0.1+0.25*m.at(third), name)
	}
}

func TestCapacityEndsWithARateThatHeld(t *testing.T) {
	t.Parallel()
	o := capacityOptions{system: small(t), slo: time.Minute, step: time.Second, confirm: 2 * time.Second, from: 200, precision: 0.2, most: 400}
	out := &bytes.Buffer{}
	require.NoError(t, capacity(t.Context(), flags("capacity"), o, out), out)
	r := outcome(t, o.common, out)
	require.Equal(t, report.Valid, r.Verdict)
	var keys map[string]any
	text, err := os.ReadFile(o.json)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &keys))
	require.Positive(t, keys["sustainable_events_per_second"])
}

func TestOverloadTellsRefusalsAndRecovery(t *testing.T) {
	t.Parallel()
	o := overloadOptions{system: small(t), capacity: 500, factors: factors{4}, duration: 3 * time.Second, slo: 30 * time.Second, recovery: time.Minute}
	o.settings = settings{"BACKPRESSURE_HIGH_EVENTS=200", "BACKPRESSURE_LOW_EVENTS=100", "BATCH_MAX_WAIT=500ms"}
	out := &bytes.Buffer{}
	require.NoError(t, overload(t.Context(), flags("overload"), o, out), out)
	r := outcome(t, o.common, out)
	require.Equal(t, report.Valid, r.Verdict, "what was refused must not be stored, and what was not must be")
	step := r.Step("4 times the capacity")
	for _, name := range []string{"refused_share", "first_refusal_after_seconds", "recovery_seconds", "event_to_queryable_p99_seconds"} {
		require.Positive(t, step.Value(name), name)
	}
	// Rates are of one time, however early the last event was taken.
	require.InEpsilon(t, step.Value("offered_events_per_second")*(1-step.Value("refused_share")), step.Value("achieved_events_per_second"), 0.001)
}

func TestALoadThatDoesNotBeginSaysWhy(t *testing.T) {
	t.Parallel()
	o, out := small(t), &bytes.Buffer{}
	err := o.conduct(t.Context(), flags("sweep"), rig.Options{}, out, func(ctx context.Context, x *experiment, r *rig.Rig) error {
		_, err := x.hold(ctx, r, rig.Load{Rate: -1}, time.Second)
		return err
	})
	require.Error(t, err)
	require.Contains(t, strings.Join(outcome(t, o.common, out).Problems, " "), "body.shape.rate")
}

// A recovery that is timed only once the probes are found is over before it begins: they
// wait behind the backlog. Here they are not found before the load has ended.
func TestWhatFollowsALoadBeginsWhenItEnds(t *testing.T) {
	t.Parallel()
	o := small(t)
	out := &bytes.Buffer{}
	err := o.conduct(t.Context(), flags("overload"), rig.Options{}, out, func(ctx context.Context, x *experiment, r *rig.Rig) error {
		c, err := control.NewClientWithResponses(r.Program(rig.ConsumerName(0)).URL)
		if err != nil {
			return err
		}
		if _, err := client.Answer(c.PauseWithResponse(ctx)); err != nil {
			return err
		}
		h, err := x.holdThen(ctx, r, rig.Load{Rate: 100}, 2*time.Second, func(ctx context.Context, _ time.Time) error {
			_, err := client.Answer(c.ResumeWithResponse(ctx))
			return err
		})
		require.NotZero(t, h.probes.Queryable.Count())
		require.Zero(t, h.probes.Missing)
		return errors.Join(err, x.verify(ctx, r))
	})
	require.NoError(t, err, out)
}

func TestSoakTellsWhatDrifts(t *testing.T) {
	t.Parallel()
	o := soakOptions{system: small(t), rate: 200, duration: 4 * time.Second, every: 2 * time.Second, calm: time.Second}
	out := &bytes.Buffer{}
	require.NoError(t, soak(t.Context(), flags("soak"), o, out), out)
	r := outcome(t, o.common, out)
	require.Equal(t, report.Valid, r.Verdict)
	_, ok := r.Figure("consumer_memory_drift_bytes_per_hour")
	require.True(t, ok)
	require.NotEmpty(t, r.Steps)
}

func TestQueryAsksWhileEventsFlow(t *testing.T) {
	t.Parallel()
	o := queryOptions{system: small(t), events: 3000, days: 3, asks: 2, rate: 100}
	out := &bytes.Buffer{}
	require.NoError(t, query(t.Context(), flags("query"), o, out), out)
	r := outcome(t, o.common, out)
	require.Equal(t, report.Valid, r.Verdict)
	require.GreaterOrEqual(t, r.Counts.Published, int64(3000))
	for _, q := range questions(3) {
		require.Positive(t, r.Step(q.name).Value("answer_p99_seconds"), q.name)
	}
	require.Positive(t, r.Step("newest events"+atRest).Value("answer_p99_seconds"))
}

func TestLiveReachesEveryClientOfOtherProcesses(t *testing.T) {
	t.Parallel()
	o := liveOptions{system: small(t), clients: 5, rate: 200, duration: 2 * time.Second}
	out := &bytes.Buffer{}
	require.NoError(t, live(t.Context(), flags("live"), o, out), out)
	r := outcome(t, o.common, out)
	require.Equal(t, report.Valid, r.Verdict)
	step := r.Step("5 clients")
	require.Positive(t, step.Value("accepted_to_client_p99_seconds"))
	require.Zero(t, step.Value("closed_clients"))
}

func TestAnInterruptedRunKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := sweepOptions{system: small(t), rates: rates{200, 200, 201}, duration: time.Second, runs: 1}
	out := &interrupting{at: "200 events/s offered", cancel: cancel}
	require.Error(t, sweep(ctx, flags("sweep"), o, out))
	r := outcome(t, o.common, &out.Buffer)
	require.True(t, r.Partial)
	require.Contains(t, strings.Join(r.Problems, " "), "interrupted")
	require.NotEmpty(t, r.Steps, "what was measured is kept")
}

func TestAnInterruptedRunSaysWhatItLeavesBehind(t *testing.T) {
	t.Parallel()
	for cleaningUp, says := range map[error]string{
		nil:                            "interrupted; everything that was started is stopped",
		errors.New("remove container"): "may be stopped: context canceled\nclean up: remove container",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &bytes.Buffer{}
		require.Error(t, conduct(ctx, flags("drain"), common{}, out, func(ctx context.Context, _ *experiment) error {
			cancel()
			return errors.Join(ctx.Err(), harness.CleanUp(cleaningUp))
		}))
		require.Contains(t, out.String(), says)
	}
}

// interrupting calls cancel when something is said, as a Ctrl-C at that moment would.
type interrupting struct {
	bytes.Buffer
	at     string
	cancel func()
}

func (i *interrupting) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(i.at)) {
		i.cancel()
	}
	return i.Buffer.Write(p)
}

func TestServersThatVanishEndTheRunWithTheReason(t *testing.T) {
	t.Parallel()
	o := sweepOptions{system: small(t), rates: rates{200, 201}, duration: 20 * time.Second, runs: 1}
	o.servers, o.patience = harness.Private(t), 2*time.Second
	o.settings = settings{"FLUSH_TIMEOUT=2s", "CLAIM_MIN_IDLE=3s"}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	// PostgreSQL goes between the first rate and the second.
	out := &interrupting{at: "200 events/s offered", cancel: func() { require.NoError(t, o.servers.KillPostgres(ctx)) }}
	require.Error(t, sweep(ctx, flags("sweep"), o, out))
	require.NoError(t, ctx.Err(), "it ended by itself")
	r := outcome(t, o.common, &out.Buffer)
	require.True(t, r.Partial)
	require.Contains(t, strings.Join(r.Problems, "\n"), "has not been able to write to PostgreSQL")
}

// What is measured must be what the report says, not what somebody's own Weir is set to.
func TestSettingsOfTheUserDoNotReachTheServices(t *testing.T) {
	s := small(t)
	t.Setenv("APP_ENV", "production") // without keys for the api, it would not start
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".env"), []byte("ADMIN_KEYS=secret\nINGESTION_WRITE_KEYS=shop=secret\n"), 0o600))
	t.Chdir(dir)
	r, err := rig.Start(t.Context(), rig.Options{Name: "settings", Servers: s.servers, Binaries: s.binaries})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	probes, err := r.Probe(t.Context(), 100)
	require.NoError(t, err)
	_, err = r.Begin(t.Context(), rig.Load{Rate: 100})
	require.NoError(t, err)
	_, err = r.End(t.Context())
	require.NoError(t, err)
	result := probes.Stop(t.Context())
	require.Positive(t, result.Sent)
	require.Zero(t, result.Failed, "%v", result.Failure)
	require.NoError(t, r.Drain(t.Context()))
	c, err := r.Verify(t.Context())
	require.NoError(t, err)
	require.True(t, c.OK(), "%+v", c)
}

func TestWrongUsageSaysWhatIsRight(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		says string
	}{
		{"", "Commands:"},
		{"swep", "Commands:"},
		{"sweep -rates 5k,x", "events per second"},
		{"sweep -rates 2M", "up to 1M"},
		{"sweep -set X", "NAME=VALUE"},
		{"capacity -slo-p99 0s", "-slo-p99"},
		{"overload -factors 0", "multiples"},
		{"drain -events 0", "at least 1"},
		{"live -clients 0", "-clients"},
		{"soak -duration 0s", "-duration"},
		{"plan", "-rate and -results"},
		{"plan -rate 5k -results absent.json", "absent.json"},
		{"plan -rate 5k -results main.go", "no report"},
		{"compare one.json", "two reports"},
	} {
		out := &bytes.Buffer{}
		require.Equal(t, 2, run(t.Context(), strings.Fields(c.args), out, out), c.args)
		require.Contains(t, out.String(), c.says, c.args)
	}
}

// TestWhatIsLostDoubledOrMadeUpIsFound tampers with what was stored.
func TestWhatIsLostDoubledOrMadeUpIsFound(t *testing.T) {
	t.Parallel()
	s := small(t)
	r, err := rig.Start(t.Context(), rig.Options{Name: "tampered", Servers: s.servers, Binaries: s.binaries})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	probes, err := r.Probe(t.Context(), 20)
	require.NoError(t, err)
	_, err = r.Begin(t.Context(), rig.Load{Rate: 500})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s, err := r.Status(t.Context())
		return err == nil && s.Statistics.Published > 500
	}, time.Minute, 20*time.Millisecond)
	_, err = r.End(t.Context())
	require.NoError(t, err)
	probes.Stop(t.Context())
	require.NoError(t, r.Drain(t.Context()))
	c, err := r.Verify(t.Context())
	require.NoError(t, err)
	require.True(t, c.OK(), "%+v", c)
	require.Equal(t, c.Published, c.Stored)

	for _, statement := range []string{
		`DELETE FROM events WHERE id = (SELECT id FROM events WHERE source <> 'bench-probe' LIMIT 1)`,
		`DELETE FROM events WHERE id = (SELECT id FROM events WHERE source = 'bench-probe' LIMIT 1)`,
		`INSERT INTO events (id, time, type, source, user_id) SELECT gen_random_uuid(), time, type, source, 'u' FROM events WHERE source <> 'bench-probe' LIMIT 1`,
		`INSERT INTO events (id, time, type, source, user_id) (SELECT id, time + interval '1 microsecond', type, source, 'u' FROM events WHERE source <> 'bench-probe' ORDER BY time LIMIT 1)`,
		// A dead letter of an event that is stored makes up for none that is lost, nor does one of none.
		`INSERT INTO dead_letters (stream, stream_id, payload, stage, reason, attempts, arrived_at)
			SELECT 's', '1-1', convert_to(json_build_object('id', id)::text, 'UTF8'), 'store', '', 1, now() FROM events WHERE source <> 'bench-probe' ORDER BY time LIMIT 1`,
		`INSERT INTO dead_letters (stream, stream_id, payload, stage, reason, attempts, arrived_at) VALUES ('s', '1-2', '{', 'decode', '', 1, now())`,
	} {
		_, err := r.Pool.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	c, err = r.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, report.Counts{Published: c.Published, Stored: c.Published - 2, DeadLettered: 2, Lost: 2, Duplicated: 1, Foreign: 1}, c)
}
