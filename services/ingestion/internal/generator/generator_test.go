package generator_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/loadgen"
	"weir/services/ingestion/internal/gate"
	"weir/services/ingestion/internal/generator"
	"weir/services/ingestion/internal/publish"
	"weir/services/shared/access"
	"weir/services/shared/event"
	"weir/services/shared/httpserver"
	"weir/services/shared/redisclient"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const patience = 60 * time.Second

// fixture is a generator that publishes to a stream of the test's own.
type fixture struct {
	*generator.Generator
	t      *testing.T
	client redis.UniversalClient
	keys   []string
}

func start(t *testing.T, c generator.Config, marks gate.Config) *fixture {
	t.Helper()
	box := harness.NewSandbox(t)
	client, err := redisclient.New(redisclient.Config{URL: box.RedisURL}, redisclient.FailFast)
	require.NoError(t, err)
	f := &fixture{t: t, client: client, keys: event.StreamKeys(box.StreamName, 2)}
	log, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	marks.Group, marks.HighAge, marks.MaxMemory = "weir", time.Hour, 1<<40
	watch := gate.New(marks, client, f.keys, log, registry)
	publisher := publish.New(publish.Config{}, client, f.keys, watch, registry)
	f.Generator, err = generator.New(c, publisher, len(f.keys), log, registry)
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{watch.Run, publisher.Run, f.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		client.Close()
	})
	require.Eventually(t, publisher.Open, patience, time.Millisecond)
	return f
}

var wide = gate.Config{HighEvents: 1 << 40}

func (f *fixture) length() (n int64) {
	f.t.Helper()
	for _, key := range f.keys {
		length, err := f.client.XLen(f.t.Context(), key).Result()
		require.NoError(f.t, err)
		n += length
	}
	return n
}

func (f *fixture) until(state string) generator.Status {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return f.Status().State == state }, patience, 5*time.Millisecond, state)
	return f.Status()
}

func (f *fixture) change(c generator.Change) {
	f.t.Helper()
	require.NoError(f.t, f.Change(f.t.Context(), c))
}

func TestItIsOffUntilItIsStartedAndStopsWhenItIsStopped(t *testing.T) {
	t.Parallel()
	f := start(t, generator.Config{}, wide)
	require.Equal(t, "stopped", f.Status().State)
	require.NoError(t, f.Stop(t.Context()), "changes nothing")
	rate := 5000.
	f.change(generator.Change{Rate: &rate})
	require.Equal(t, "stopped", f.Status().State)
	require.NoError(t, f.Start())
	require.NoError(t, f.Start(), "changes nothing")
	require.Eventually(t, func() bool { return f.Status().Statistics.Published > 2000 }, patience, time.Millisecond)
	running := f.Status()
	require.Equal(t, "running", running.State)
	require.InDelta(t, 5000, running.Rate, 1)
	require.NoError(t, f.Stop(t.Context()))

	s := f.Status()
	require.Equal(t, "stopped", s.State)
	require.Equal(t, s.Statistics.Published, f.length(), "what was on its way has arrived")
	require.Equal(t, s.Statistics.Offered, s.Statistics.Published)
	k := s.Statistics.Kinds
	require.Equal(t, s.Statistics.Published, k.Fresh+k.Late+k.Duplicate+k.Malformed)
	require.Positive(t, s.Statistics.Response.P50)
	require.GreaterOrEqual(t, s.Statistics.Response.Max, s.Statistics.Response.P99)
	require.Positive(t, s.Statistics.Service.P50)

	require.NoError(t, f.Reset(t.Context()))
	s = f.Status()
	require.Zero(t, s.Statistics)
	require.Nil(t, s.StartedAt)
	require.NotEqual(t, rate, s.Settings.Shape.Rate)
}

func TestSettingsChangeDuringARun(t *testing.T) {
	t.Parallel()
	f := start(t, generator.Config{Rate: 0.01, Seed: 3}, wide)
	f.until("running")
	rate := 20_000.
	f.change(generator.Change{Rate: &rate}) // not in a hundred seconds
	require.Eventually(t, func() bool { return f.Status().Statistics.Published > 100 }, patience, time.Millisecond)
	// From a mix of all kinds to nothing but errors of one kind.
	f.change(generator.Change{
		Journey: &loadgen.Journey{"land": {"search": 1}, "search": {"search": 9, "leave": 1}},
		Faults:  &loadgen.Faults{Malformed: 0.4},
		Volume:  &loadgen.Volume{Count: 20_000},
	})
	s := f.until("finished")
	require.EqualValues(t, 20_000, s.Statistics.Published)
	require.Greater(t, s.Statistics.Kinds.Malformed, int64(4000))
	require.Equal(t, loadgen.Volume{Count: 20_000}, s.Settings.Volume)
	require.EqualValues(t, 20_000, f.length())
	require.Zero(t, s.Rate)

	f.change(generator.Change{Volume: &loadgen.Volume{Count: 21_000}})
	require.Eventually(t, func() bool { return f.Status().Statistics.Published == 21_000 }, patience, time.Millisecond)

	// Another seed begins a new run, with statistics of its own.
	seed, before := int64(4), f.until("finished")
	f.change(generator.Change{Seed: &seed, Volume: &loadgen.Volume{Count: 500}})
	s = f.until("finished")
	require.EqualValues(t, 500, s.Statistics.Published)
	require.True(t, s.StartedAt.After(*before.StartedAt))
	require.EqualValues(t, 4, s.RunSeed)
	profile := "launch-day"
	f.change(generator.Change{Profile: &profile})
	s = f.Status()
	require.Equal(t, profile, s.Settings.Profile)
	require.Equal(t, loadgen.FormSpike, s.Settings.Shape.Form)
}

func TestAWrongChangeChangesNothing(t *testing.T) {
	t.Parallel()
	f := start(t, generator.Config{}, wide)
	before := f.Status()
	minus := -1.
	hold, seed := generator.Offer, int64(9)
	for _, c := range []generator.Change{
		{Rate: &minus, Overload: &hold},
		{Shape: &loadgen.Shape{Form: "zigzag", Rate: 5}, Seed: &seed},
		{Rate: &minus, Shape: &loadgen.Shape{Form: "constant", Rate: 5}},
		{Faults: &loadgen.Faults{Late: 2}},
		{Journey: &loadgen.Journey{"land": {"land": 1}}},
		{Volume: &loadgen.Volume{Count: -1}},
	} {
		var wrong generator.ErrWrong
		require.ErrorAs(t, f.Change(t.Context(), c), &wrong)
		require.Equal(t, before, f.Status())
	}
}

// shut are marks that a few thousand events reach, and that open once half is gone.
var shut = gate.Config{HighEvents: 3000, LowEvents: 1000}

func TestHeldBackEventsArriveLateAndAllOfThem(t *testing.T) {
	t.Parallel()
	f := start(t, generator.Config{Rate: 20_000, Count: 10_000, Overload: generator.Hold}, shut)
	s := f.until("held")
	require.Less(t, s.Statistics.Published, int64(3000+4*generator.Most))
	// The gate may measure again at once: make room when what is held back is late already.
	require.Eventually(t, func() bool { return f.Status().Behind > 0.2 }, time.Minute, time.Millisecond)
	seen := int64(0)
	for s.State != "finished" {
		// Who consumes makes room.
		for _, key := range f.keys {
			n, err := f.client.XTrimMaxLen(t.Context(), key, 0).Result()
			require.NoError(t, err)
			seen += n
		}
		s = f.Status()
	}
	seen += f.length()
	require.EqualValues(t, 10_000, s.Statistics.Published)
	require.EqualValues(t, 10_000, seen)
	require.Zero(t, s.Statistics.Refused)
	require.Positive(t, s.Statistics.Late)
	require.Greater(t, s.Statistics.Response.Max, 100., "the wait is not hidden")
}

func TestOfferedEventsThatAreRefusedAreCounted(t *testing.T) {
	t.Parallel()
	f := start(t, generator.Config{Rate: 20_000, Count: 10_000, Overload: generator.Offer}, shut)
	s := f.until("finished")
	require.EqualValues(t, 10_000, s.Statistics.Offered)
	require.Equal(t, s.Statistics.Offered, s.Statistics.Published+s.Statistics.Refused)
	require.Equal(t, s.Statistics.Published, f.length())
	// What lands while the gate measures it may count twice, so it may shut at half of its mark.
	require.GreaterOrEqual(t, s.Statistics.Published, int64(1500))
	require.Greater(t, s.Statistics.Refused, int64(1000))

	// Given up, too, when one who was held back is told to.
	hold, offer := generator.Hold, generator.Offer
	f.change(generator.Change{Overload: &hold, Volume: &loadgen.Volume{Count: 12_000}})
	f.until("held")
	f.change(generator.Change{Overload: &offer})
	s = f.until("finished")
	require.Equal(t, s.Statistics.Offered, s.Statistics.Published+s.Statistics.Refused)
}

func TestStoppingDoesNotWaitForWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	f := start(t, generator.Config{Rate: 50_000}, shut)
	f.until("held")
	require.NoError(t, f.Stop(t.Context()))
	s := f.Status()
	require.Equal(t, "stopped", s.State)
	require.Equal(t, s.Statistics.Published, f.length())
}

func TestTheControlAPIIsGuarded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		key           string
		production    bool
		authorization string
		status        int
	}{
		{"development", "", false, "", http.StatusOK},
		{"production without a key", "", true, "Bearer x", http.StatusForbidden},
		{"no key given", "secret", false, "", http.StatusUnauthorized},
		{"wrong key", "secret", true, "Bearer guess", http.StatusForbidden},
		{"right key", "secret", true, "Bearer secret", http.StatusOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			log, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
			publisher := publish.New(publish.Config{}, nil, nil, nil, registry)
			g, err := generator.New(generator.Config{}, publisher, 1, log, registry)
			require.NoError(t, err)
			api := httpserver.NewAPI("test", "")
			var keys []string
			if test.key != "" {
				keys = append(keys, test.key)
			}
			admin, err := access.New("admin", access.Source{Keys: keys}, nil)
			require.NoError(t, err)
			g.Register(api, admin, test.production && test.key == "")
			for _, operation := range [][2]string{{"GET", ""}, {"PATCH", ""}, {"POST", "/stop"}, {"POST", "/reset"}} {
				request := httptest.NewRequest(operation[0], "/v1/generator"+operation[1], strings.NewReader(`{}`))
				request.Header.Set("Authorization", test.authorization)
				request.Header.Set("Content-Type", "application/json")
				answer := httptest.NewRecorder()
				api.Mux.ServeHTTP(answer, request)
				require.Equal(t, test.status, answer.Code, answer.Body)
				require.NotContains(t, answer.Body.String(), "secret")
			}
		})
	}
}

func TestAWrongChangeOverHTTPNamesEveryField(t *testing.T) {
	t.Parallel()
	log, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	g, err := generator.New(generator.Config{}, publish.New(publish.Config{}, nil, nil, nil, registry), 1, log, registry)
	require.NoError(t, err)
	api := httpserver.NewAPI("test", "")
	g.Register(api, access.Keys{}, false)
	for body, says := range map[string][]string{
		`{"rate":-5,"faults":{"late":3,"doubled":-1}}`:    {"body.shape.rate", "body.faults.late", "body.faults.doubled"},
		`{"rate":5,"shape":{"form":"constant","rate":1}}`: {"body.rate", "one of"},
		`{"profile":"zoo","seed":-1}`:                     {"body.profile", "body.seed"},
		`{"colour":"red"}`:                                {"colour"},
		`{"faults":{"late_by":"soon"}}`:                   {"soon"},
		`[]`:                                              {"object"},
		`{`:                                               {"JSON"},
	} {
		request := httptest.NewRequest(http.MethodPatch, "/v1/generator", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		api.Mux.ServeHTTP(answer, request)
		require.Contains(t, []int{http.StatusUnprocessableEntity, http.StatusBadRequest}, answer.Code, "%s: %s", body, answer.Body)
		require.True(t, json.Valid(answer.Body.Bytes()))
		for _, want := range says {
			require.Contains(t, answer.Body.String(), want, body)
		}
	}
}

func TestProfilesAreFoundByNameOrByPath(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mine.yaml")
	require.NoError(t, os.WriteFile(file, []byte("name: mine\nshape: {form: constant, rate: 7}\n"), 0o600))
	p, err := generator.ReadProfile(file)
	require.NoError(t, err)
	require.Equal(t, "mine", p.Name)
	require.NoError(t, generator.Config{Profile: file}.Validate())
	require.NoError(t, os.WriteFile(file, []byte("name: mine\nshape: {form: constant, rate: -7}\n"), 0o600))
	require.ErrorContains(t, generator.Config{Profile: file}.Validate(), "shape.rate")
	err = generator.Config{Profile: "zoo"}.Validate()
	require.ErrorContains(t, err, "GENERATOR_PROFILE must be one of: back-fill, launch-day, mobile-app, web-shop; or the path")
}
