package loadgen_test

import (
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
	"weir/services/shared/event"
)

// These tests hold the traffic to what it claims. The seed is fixed, so they
// cannot fail by chance; tolerances are about four standard deviations.

func TestRatesFollowTheShapes(t *testing.T) {
	t.Parallel()
	const minute = loadgen.Duration(time.Minute)
	for _, s := range []loadgen.Shape{
		loadgen.Constant(5000),
		{Form: loadgen.FormRamp, Rate: 0, Peak: 10_000, Period: minute},
		{Form: loadgen.FormRamp, Rate: 8000, Peak: 1000, Period: minute, Delay: minute / 2},
		{Form: loadgen.FormSteps, Rate: 1000, Peak: 9000, Steps: 5, Period: minute / 4},
		{Form: loadgen.FormSine, Rate: 1000, Peak: 9000, Period: minute},
		{Form: loadgen.FormSpike, Rate: 500, Peak: 20_000, Delay: minute / 3, Period: minute / 6},
	} {
		t.Run(string(s.Form), func(t *testing.T) {
			t.Parallel()
			var even, poisson [90]float64 // events in each second
			for arrivals, counts := range map[loadgen.Arrivals]*[90]float64{loadgen.Even: &even, loadgen.Poisson: &poisson} {
				pacer := loadgen.NewPacer(s, arrivals, 1)
				for at := pacer.Next(); at < 90*time.Second; at = pacer.Next() {
					counts[int(at/time.Second)]++
				}
			}
			for second := range 90 {
				var want float64 // the shape's integral over this second
				for i := range 1000 {
					want += s.At(time.Duration(second)*time.Second+time.Duration(i)*time.Millisecond+500*time.Microsecond) / 1000
				}
				require.InDelta(t, want, even[second], 2+want*0.001, "second %d", second)
				require.InDelta(t, want, poisson[second], 4*math.Sqrt(want)+4, "second %d", second)
			}
		})
	}
}

func TestArrivalsArePoisson(t *testing.T) {
	t.Parallel()
	const windows, perWindow = 20_000, 20
	dispersion := func(arrivals loadgen.Arrivals) float64 {
		pacer := loadgen.NewPacer(loadgen.Constant(perWindow*100), arrivals, 1)
		counts := make([]float64, windows) // in windows of 10 ms
		for {
			window := int(pacer.Next() / (10 * time.Millisecond))
			if window >= windows {
				break
			}
			counts[window]++
		}
		mean, deviation := moments(counts)
		return deviation * deviation / mean
	}
	// The index's standard deviation is √(2/windows) = 0.01.
	require.InDelta(t, 1, dispersion(loadgen.Poisson), 0.04)
	require.Less(t, dispersion(loadgen.Even), 0.1)
}

func TestHighRatesAreExact(t *testing.T) {
	t.Parallel()
	pacer := loadgen.NewPacer(loadgen.Constant(1_000_000), loadgen.Even, 1)
	var last time.Duration
	for range 1_000_000 {
		last = pacer.Next()
	}
	require.InDelta(t, 1, last.Seconds(), 1e-6)
}

func TestSeasonFollowsHourAndWeekday(t *testing.T) {
	t.Parallel()
	p := builtin(t, "back-fill")
	p.Shape.Rate /= 10
	p.Volume.Duration = loadgen.Duration(300 * time.Second)
	p.Faults = loadgen.Faults{}
	g := generator(t, p)
	oracle := g.Oracle()
	for _, ok := g.Next(nil); ok; _, ok = g.Next(nil) {
	}

	var hours [24]float64
	var days [7]float64
	for key, tally := range oracle.Tallies() {
		if key.Dimension == "" {
			hours[key.Hour.Hour()] += float64(tally.Count)
			days[key.Hour.Weekday()] += float64(tally.Count)
		}
	}
	total := float64(oracle.Total().Count)
	require.InDelta(t, 300*p.Shape.Rate, total, 1600, "the season's mean is 1")
	for hour, count := range hours {
		middle := (float64(hour) + 0.5 - p.Season.PeakHour) / 24 * 2 * math.Pi
		require.InDelta(t, 1+p.Season.Daily*math.Cos(middle), count/total*24, 0.06, "hour %d", hour)
	}
	for day, count := range days {
		want := 7 / (5 + 2*1.25)
		if day == 0 || day == 6 {
			want *= 1.25
		}
		require.InDelta(t, want, count/total*7, 0.03, "day %d", day)
	}
}

func TestFaultsHaveTheirShares(t *testing.T) {
	t.Parallel()
	p := builtin(t, "web-shop")
	p.Faults = loadgen.Faults{Late: 0.1, LateBy: loadgen.Duration(20 * time.Minute), Retried: 0.05, Doubled: 0.03, Malformed: 0.02}
	const n = 60_000
	kinds := map[loadgen.Kind]float64{}
	var delays []float64
	doubled, last := 0.0, ""
	for s := range samples(generator(t, p), n) {
		kinds[s.Kind]++
		if s.Kind == loadgen.Late {
			delays = append(delays, math.Log(start.Add(s.At).Sub(s.Time).Seconds()))
		}
		if s.Kind == loadgen.Duplicate && string(s.Payload) == last {
			doubled++
		}
		last = string(s.Payload)
	}
	require.InDelta(t, 0.10, kinds[loadgen.Late]/n, 0.009)
	require.InDelta(t, 0.08, kinds[loadgen.Duplicate]/n, 0.005)
	require.InDelta(t, 0.03, doubled/n, 0.003)
	require.InDelta(t, 0.02, kinds[loadgen.Malformed]/n, 0.002)
	mean, deviation := moments(delays)
	require.InDelta(t, 20*60, math.Exp(mean), 120, "median delay in seconds")
	require.InDelta(t, 1, deviation, 0.05)
}

// run is twenty minutes of the web shop without faults, with a referrer on every
// landing so that landings can be told. Several tests look at it.
var run = sync.OnceValue(func() (out struct {
	profile  loadgen.Profile
	events   []event.Event
	sessions map[string][]event.Event // those begun in the first ten minutes, so that nearly all have ended
}) {
	p, _ := loadgen.Builtin("web-shop")
	p.Shape = loadgen.Constant(100)
	p.Faults = loadgen.Faults{}
	delete(p.Audience.Referrers, "direct")
	g, _ := loadgen.New(p, 1, start)
	out.profile, out.sessions = p, map[string][]event.Event{}
	for s := range samples(g, 100*1200) {
		out.events = append(out.events, s.Event)
		if s.Referrer != "" && s.At < 10*time.Minute || out.sessions[s.SessionID] != nil {
			out.sessions[s.SessionID] = append(out.sessions[s.SessionID], s.Event)
		}
	}
	return out
})

func TestSessionsFollowTheJourney(t *testing.T) {
	t.Parallel()
	p, sessions := run().profile, run().sessions
	var lengths, logGaps []float64
	reached := map[string]float64{}
	for _, events := range sessions {
		lengths = append(lengths, float64(len(events)))
		types := map[string]bool{}
		for i, e := range events {
			types[e.Type] = true
			if i > 0 {
				logGaps = append(logGaps, math.Log(e.Time.Sub(events[i-1].Time).Seconds()))
			}
		}
		for typ := range types {
			reached[typ]++
		}
	}
	n := float64(len(sessions))

	want, err := p.Journey.Length()
	require.NoError(t, err)
	mean, deviation := moments(lengths)
	require.InDelta(t, want, mean, 4*deviation/math.Sqrt(n))
	for step, typ := range map[string]string{"search": "search", "cart": "add_to_cart", "checkout": "checkout", "purchase": "purchase", "error": "error"} {
		want, err := p.Journey.Reach(step)
		require.NoError(t, err)
		require.InDelta(t, want, reached[typ]/n, 4*math.Sqrt(want/n), step)
	}
	median, spread := moments(logGaps)
	require.InDelta(t, 12, math.Exp(median), 12*0.04, "median gap in seconds")
	require.InDelta(t, 1.2, spread, 0.03)
}

func TestTheMixIsRightFromTheFirstSecond(t *testing.T) {
	t.Parallel()
	p := builtin(t, "web-shop")
	p.Shape = loadgen.Constant(5000)
	share := func(events []sample) map[string]float64 {
		out := map[string]float64{}
		for _, s := range events {
			out[s.Type] += 1 / float64(len(events))
		}
		return out
	}
	events := take(generator(t, p), 60_000)
	first, last := share(events[:10_000]), share(events[40_000:])
	for typ := range last {
		require.InDelta(t, last[typ], first[typ], 0.02, typ)
	}
}

func TestPurchaseIsWorthWhatWasPutInTheCart(t *testing.T) {
	t.Parallel()
	purchases := 0
	for _, events := range run().sessions {
		var basket int64
		for _, e := range events {
			switch e.Type {
			case "add_to_cart":
				basket += e.Value
			case "purchase":
				require.Equal(t, basket, e.Value)
				require.NotEmpty(t, e.Currency)
				basket = 0
				purchases++
			}
		}
	}
	require.Greater(t, purchases, 100)
}

func TestAudienceHasItsWeights(t *testing.T) {
	t.Parallel()
	p := run().profile
	people, countries, platforms, referrers := map[string]bool{}, map[string]float64{}, map[string]float64{}, map[string]float64{}
	for _, events := range run().sessions {
		s := events[0]
		referrers[s.Referrer]++
		if !people[s.AnonymousID] { // a person's country weighs once, however active
			people[s.AnonymousID] = true
			countries[s.Country]++
			platforms[s.Device+s.OS+s.Browser]++
		}
	}
	expected := map[string]float64{}
	for _, platform := range p.Audience.Platforms {
		expected[platform.Device+platform.OS+platform.Browser] = platform.Weight
	}
	requireWeights(t, p.Audience.Countries, countries)
	requireWeights(t, expected, platforms)
	requireWeights(t, p.Audience.Referrers, referrers)
}

func requireWeights(t *testing.T, weights, counts map[string]float64) {
	t.Helper()
	total, n := 0.0, 0.0
	for name, w := range weights {
		total += w
		n += counts[name]
	}
	for name, w := range weights {
		want := w / total
		require.InDelta(t, want, counts[name]/n, 4*math.Sqrt(want/n), name)
	}
}

func TestActivityAndPopularityArePowerLaws(t *testing.T) {
	t.Parallel()
	p := run().profile
	people, pages := map[int]float64{}, map[int]float64{}
	counted := map[string]bool{}
	paths := map[string]bool{}
	for _, s := range run().events {
		if rank, ok := strings.CutPrefix(s.UserID, "u-"); ok && !counted[s.SessionID] {
			counted[s.SessionID] = true
			n, err := strconv.Atoi(rank)
			require.NoError(t, err)
			people[n]++
		}
		if slug := strings.Split(s.Path, "/"); s.Type == "page_view" && strings.Count(slug[len(slug)-1], "-") >= 2 { // quality-noun-rank
			n, err := strconv.Atoi(s.Path[strings.LastIndexByte(s.Path, '-')+1:])
			require.NoError(t, err)
			pages[n]++
		}
		paths[s.Path] = true
	}
	requirePowerLaw(t, people, p.Audience.People, p.Audience.Exponent)
	requirePowerLaw(t, pages, 1791, p.Site.Exponent)
	require.InDelta(t, 2000, len(paths), 200)
}

// requirePowerLaw compares ranks in bands that each double.
func requirePowerLaw(t *testing.T, counts map[int]float64, n int, exponent float64) {
	t.Helper()
	weight := func(from, to int) (sum float64) {
		for k := from; k < min(to, n+1); k++ {
			sum += math.Pow(float64(k), -exponent)
		}
		return sum
	}
	all, total := weight(1, n+1), 0.0
	for _, c := range counts {
		total += c
	}
	for from := 4; from <= n; from *= 2 { // for the first three ranks the integral is only near the sum
		got := 0.0
		for k := from; k < 2*from; k++ {
			got += counts[k]
		}
		want := weight(from, 2*from) / all * total
		require.InDelta(t, want, got, 4*math.Sqrt(want)+0.03*want, "ranks from %d", from)
	}
}

func moments(values []float64) (mean, deviation float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		deviation += (v - mean) * (v - mean) / float64(len(values))
	}
	return mean, math.Sqrt(deviation)
}
