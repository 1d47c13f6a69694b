package loadgen_test

import (
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
	"weir/services/shared/event"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) // a Monday

func builtin(t *testing.T, name string) loadgen.Profile {
	t.Helper()
	p, err := loadgen.Builtin(name)
	require.NoError(t, err)
	return p
}

func generator(t *testing.T, p loadgen.Profile) *loadgen.Generator {
	t.Helper()
	g, err := loadgen.New(p, 1, start)
	require.NoError(t, err)
	return g
}

// sample is an item with the event in it, parsed as the consumer would.
type sample struct {
	loadgen.Item
	event.Event
	invalid event.Invalid
}

func samples(g *loadgen.Generator, n int) iter.Seq[sample] {
	return func(yield func(sample) bool) {
		for range n {
			item, ok := g.Next(nil)
			if !ok {
				return
			}
			s := sample{Item: item}
			s.invalid = s.Validate(start.Add(item.At), s.Parse(string(item.Payload)))
			if !yield(s) {
				return
			}
		}
	}
}

func take(g *loadgen.Generator, n int) []sample { return slices.Collect(samples(g, n)) }

func TestSameSeedGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, name := range loadgen.Names() {
		p := builtin(t, name)
		a, b := generator(t, p), generator(t, p)
		a.Oracle() // must not change what is produced
		other, err := loadgen.New(p, 2, start)
		require.NoError(t, err)
		differ := 0
		for range 2000 {
			x, _ := a.Next(nil)
			y, _ := b.Next([]byte{})
			z, _ := other.Next(nil)
			require.Equal(t, x, y)
			if string(x.Payload) != string(z.Payload) {
				differ++
			}
		}
		require.Equal(t, 2000, differ)
	}
}

func TestItemsAreWhatTheirKindSays(t *testing.T) {
	t.Parallel()
	for _, name := range loadgen.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := builtin(t, name)
			type identity struct {
				id   event.UUID
				time time.Time
			}
			seen := map[identity]string{}
			kinds := map[loadgen.Kind]int{}
			var last time.Duration
			bytes := 0
			for s := range samples(generator(t, p), 10_000) {
				require.GreaterOrEqual(t, s.At, last)
				last = s.At
				bytes += len(s.Payload)
				kinds[s.Kind]++
				if s.Kind == loadgen.Malformed {
					require.NotEmpty(t, s.invalid, "%s", s.Payload)
					continue
				}
				require.Empty(t, s.invalid, "%s", s.Payload)
				require.Equal(t, s.Item.ID, s.Event.ID)
				require.Equal(t, s.Item.Actor, s.Event.Actor())
				require.Equal(t, p.Source, s.Source)

				earlier, again := seen[identity{s.Event.ID, s.Time}]
				require.Equal(t, s.Kind == loadgen.Duplicate, again)
				if again {
					require.Equal(t, earlier, string(s.Payload))
				}
				seen[identity{s.Event.ID, s.Time}] = string(s.Payload)

				due := start.Add(s.At).Truncate(time.Microsecond)
				if p.Clock.Multiplier == 1 && s.Kind == loadgen.Fresh {
					require.Equal(t, due, s.Time)
				}
				require.False(t, s.Time.After(due), "from the future")
				require.True(t, s.Kind != loadgen.Late || s.Time.Before(due))
			}
			require.Len(t, kinds, 4, "all kinds occur")
			require.InDelta(t, 355, bytes/10_000, 25, "mean size in bytes")
		})
	}
}

func TestIDsSortByTime(t *testing.T) {
	t.Parallel()
	var last sample
	for s := range samples(generator(t, builtin(t, "web-shop")), 10_000) {
		if s.Kind != loadgen.Fresh {
			continue
		}
		if s.Time.After(last.Time) {
			require.Greater(t, s.Item.ID.String(), last.Item.ID.String())
		}
		require.Equal(t, byte(7), s.Item.ID[6]>>4)
		last = s
	}
}

func TestPayloadIsAppended(t *testing.T) {
	t.Parallel()
	item, ok := generator(t, builtin(t, "web-shop")).Next([]byte("before"))
	require.True(t, ok)
	require.Equal(t, `before{"id"`, string(item.Payload[:11]))
}

func TestVolumeEndsTheRunAndCanGrow(t *testing.T) {
	t.Parallel()
	p := builtin(t, "web-shop")
	p.Volume = loadgen.Volume{Count: 100}
	g := generator(t, p)
	require.Len(t, take(g, 1000), 100)
	require.NoError(t, g.SetVolume(loadgen.Volume{Count: 150}))
	require.Len(t, take(g, 1000), 50)
	require.NoError(t, g.SetVolume(loadgen.Volume{Count: 1000}))
	g.Skip(time.Minute) // it has rested
	rest := take(g, 1000)
	require.InDelta(t, 60, rest[0].At.Seconds(), 0.05)
	require.InDelta(t, 60+850./500, rest[849].At.Seconds(), 0.3)
	g.Skip(time.Second)
	require.NoError(t, g.SetVolume(loadgen.Volume{Count: 1001}))
	require.Greater(t, take(g, 1)[0].At, rest[849].At, "never back")

	p.Volume = loadgen.Volume{Duration: loadgen.Duration(2 * time.Second)}
	items := take(generator(t, p), 10_000)
	require.InDelta(t, 1000, len(items), 150)
	require.Less(t, items[len(items)-1].At, 2*time.Second)
}

func TestSettingsChangeWhileItRuns(t *testing.T) {
	t.Parallel()
	p := builtin(t, "web-shop")
	p.Arrivals = loadgen.Even
	p.Sessions = loadgen.Sessions{Gap: loadgen.Duration(time.Second), Spread: 0.5}
	g := generator(t, p)
	before := take(g, 5000) // 10 seconds
	require.NoError(t, g.SetShape(loadgen.Shape{Form: loadgen.FormRamp, Rate: 100, Peak: 200, Period: loadgen.Duration(10 * time.Second)}))
	require.NoError(t, g.SetFaults(loadgen.Faults{}))
	require.NoError(t, g.SetJourney(loadgen.Journey{"land": {"search": 1}, "search": {"search": 9, "leave": 1}}))
	after := take(g, 30_000)
	require.InDelta(t, (before[4999].At + 10*time.Second).Seconds(), after[1499].At.Seconds(), 0.02)
	require.InDelta(t, 200, g.Rate(), 1)

	// Who was on the way takes one more step; then all follow the new journey.
	searches := 0
	for _, s := range after[20_000:] {
		require.NotEqual(t, loadgen.Malformed, s.Kind)
		if s.Type == "search" {
			searches++
		}
	}
	require.InDelta(t, 10./11, float64(searches)/10_000, 0.02)

	settled := g.Profile()
	require.ErrorContains(t, g.SetShape(loadgen.Constant(0)), "shape.rate")
	require.ErrorContains(t, g.SetFaults(loadgen.Faults{Late: 2}), "faults.late")
	require.ErrorContains(t, g.SetFaults(loadgen.Faults{Retried: 0.3, Doubled: 0.3}), "0.5 at most")
	require.ErrorContains(t, g.SetJourney(loadgen.Journey{"land": {"land": 1}}), "leave")
	require.ErrorContains(t, g.SetVolume(loadgen.Volume{Count: -1}), "volume.count")
	require.Equal(t, settled, g.Profile())
}

func TestARateChangesAtOnceHoweverLongTheWaitWas(t *testing.T) {
	t.Parallel()
	for _, arrivals := range []loadgen.Arrivals{loadgen.Even, loadgen.Poisson} {
		p := builtin(t, "web-shop")
		p.Arrivals, p.Shape = arrivals, loadgen.Constant(0.001) // one in a quarter of an hour
		var runs [2][]sample
		for i := range runs {
			g := generator(t, p)
			due, ok := g.Peek()
			require.True(t, ok)
			require.Greater(t, due, 10*time.Second)
			again, _ := g.Peek()
			require.Equal(t, due, again, "looking changes nothing")

			require.NoError(t, g.SetShapeAt(loadgen.Constant(1000), 10*time.Second))
			runs[i] = take(g, 1000)
			require.InDelta(t, 10, runs[i][0].At.Seconds(), 0.02)
			require.GreaterOrEqual(t, runs[i][0].At, 10*time.Second)
			require.InDelta(t, 11, runs[i][999].At.Seconds(), 0.12)

			// Who is behind begins with what is due next.
			due, _ = g.Peek()
			require.NoError(t, g.SetShapeAt(loadgen.Constant(10), time.Minute))
			item, _ := g.Next(nil)
			require.Equal(t, due, item.At)
			rest := take(g, 100)
			require.InDelta(t, 10, (rest[99].At - due).Seconds(), 4)
		}
		require.Equal(t, runs[0], runs[1], "the same seed and changes give the same items")
	}
}

func TestBackFillCatchesUpWithThePresentAndStaysThere(t *testing.T) {
	t.Parallel()
	p := builtin(t, "back-fill")
	p.Clock = loadgen.Clock{Multiplier: 3601, Lookback: loadgen.Duration(10 * time.Hour)}
	p.Faults.Late = 0
	items := take(generator(t, p), 100_000) // 20 seconds; caught up after 10
	require.WithinDuration(t, start.Add(-10*time.Hour), items[0].Time, 5*time.Second)
	for _, s := range items {
		if s.At > 10*time.Second && s.Kind == loadgen.Fresh {
			require.Equal(t, start.Add(s.At).Truncate(time.Microsecond), s.Time)
		}
	}
	require.Greater(t, items[len(items)-1].At, 11*time.Second)
}

func TestEventsOlderThanTheContractAllowsAreRefused(t *testing.T) {
	t.Parallel()
	_, err := loadgen.New(builtin(t, "back-fill"), 1, event.MinTime)
	require.ErrorContains(t, err, "clock.lookback")
}
