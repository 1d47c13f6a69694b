package batch

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/shared/event"
	"weir/services/shared/rollup"
)

type bucket struct {
	minute int32
	key    rollup.Key
}

type tally struct {
	events int64
	value  string
}

// naive counts as one would by hand.
func naive(events []event.Event) map[bucket]tally {
	counts, sums := map[bucket]int64{}, map[bucket]*big.Int{}
	add := func(b bucket, v int64) {
		counts[b]++
		if sums[b] == nil {
			sums[b] = new(big.Int)
		}
		sums[b].Add(sums[b], big.NewInt(v))
	}
	for _, e := range events {
		minute := int32(e.Time.Unix() / 60)
		add(bucket{minute, rollup.Key{Dimension: rollup.All, Type: e.Type}}, e.Value)
		for d, value := range map[rollup.Dimension]string{
			rollup.Path: e.Path, rollup.Referrer: e.Referrer, rollup.Country: e.Country, rollup.Device: e.Device,
			rollup.Browser: e.Browser, rollup.OS: e.OS, rollup.Source: e.Source,
		} {
			if value != "" {
				add(bucket{minute, rollup.Key{Dimension: d, Type: e.Type, Value: value}}, e.Value)
			}
		}
	}
	total := map[bucket]tally{}
	for b, n := range counts {
		total[b] = tally{n, sums[b].String()}
	}
	return total
}

// counted adds up the lines, of which one key and minute may have several.
func counted(d *Deltas) map[bucket]tally {
	events, sums := map[bucket]int64{}, map[bucket]*big.Int{}
	for _, l := range d.List(math.MinInt32) {
		b := bucket{l.Minute, l.Key}
		events[b] += l.Events
		if sums[b] == nil {
			sums[b] = new(big.Int)
		}
		sums[b].Add(sums[b], big.NewInt(l.Value))
	}
	total := map[bucket]tally{}
	for b, n := range events {
		total[b] = tally{n, sums[b].String()}
	}
	return total
}

func TestDeltasAreWhatCountingByHandGives(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	const huge = event.MaxValue*event.Micro - 1
	for name, change := range map[string]func(*event.Event){
		"in order":                   func(*event.Event) {},
		"minutes out of order":       func(e *event.Event) { e.Time = e.Time.Add(time.Duration(random.IntN(600)) * time.Second) },
		"days late":                  func(e *event.Event) { e.Time = e.Time.Add(-time.Duration(random.IntN(9)) * 24 * time.Hour) },
		"all dimensions":             func(e *event.Event) { e.Referrer, e.Device, e.Browser, e.OS = "r", "d", "b", "o" },
		"none":                       func(e *event.Event) { e.Path, e.Country = "", "" },
		"sums past 64 bits":          func(e *event.Event) { e.Value, e.HasValue, e.Time = huge, true, fixture.Noon },
		"negative sums past 64 bits": func(e *event.Event) { e.Value, e.HasValue, e.Time = -huge, true, fixture.Noon },
	} {
		b := New()
		for round := range 3 { // counters live on from batch to batch
			b.Reset()
			var events []event.Event
			var payloads []string
			for i := range 1000 {
				e := fixture.Event(i * (1 + round))
				change(&e)
				events = append(events, e)
				payloads = append(payloads, fixture.Payload(e))
			}
			b.Add(fixture.Chunk("s", 1, payloads...))
			b.Decode(fixture.Noon)
			require.Empty(t, b.Dead, name)
			require.Equal(t, naive(events), counted(b.Deltas), name)

			// Only some were new.
			var some []int
			var kept []event.Event
			for i := range events {
				if random.IntN(3) == 0 {
					some, kept = append(some, i), append(kept, events[i])
				}
			}
			b.Recount(some)
			require.Equal(t, naive(kept), counted(b.Deltas), name)
		}
	}
}

func TestMemoryOfKeysIsBoundedHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	b := New()
	const size = 20_000
	for round := range 8 {
		b.Reset()
		require.LessOrEqual(t, b.Deltas.keys, maxKeys)
		payloads := make([]string, size)
		for i := range payloads {
			e := fixture.Event(0)
			e.Path = fmt.Sprintf("/%d/%d", round, i)
			e.Type = fmt.Sprintf("t%d.%d", round, i/4)
			payloads[i] = fixture.Payload(e)
		}
		b.Add(fixture.Chunk("s", 1, payloads...))
		b.Decode(fixture.Noon)
		require.Len(t, b.Rows, size)
		var events int64
		for _, l := range b.Deltas.List(math.MinInt32) {
			if l.Key.Dimension == rollup.All {
				events += l.Events
			}
		}
		require.EqualValues(t, size, events)
	}
}

func TestABatchOfManyTypesCountsEachOfThem(t *testing.T) {
	t.Parallel()
	b := New()
	const types = 70_000 // more than 16 bits number
	payloads := make([]string, types)
	for i := range payloads {
		e := fixture.Event(0)
		e.Type, e.Path, e.Country = fmt.Sprintf("t%d", i), "", ""
		payloads[i] = fixture.Payload(e)
	}
	b.Add(fixture.Chunk("s", 1, payloads...))
	b.Decode(fixture.Noon)
	seen := map[string]int64{}
	for _, l := range b.Deltas.List(math.MinInt32) {
		if l.Key.Dimension == rollup.All {
			seen[l.Key.Type] += l.Events
		}
	}
	require.Equal(t, types, len(seen))
}
