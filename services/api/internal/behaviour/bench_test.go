package behaviour

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
	"weir/services/shared/event"
)

// BenchmarkState measures how many bytes one user or session takes while an answer is
// put together: what maxSubjects bounds. All users come to the last step.
func BenchmarkState(b *testing.B) {
	const subjects = 1_000_000
	deeds := func(steps int, add func(iter.Seq[*deed]) error) error {
		for i := range subjects {
			for step := range steps {
				if err := add(each([]deed{{who: hash(i)*0x9e3779b97f4a7c15 | 1, moment: moment{time: int64(step)}, steps: 1 << step, label: 1}})); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for name, fill := range map[string]func() (any, error){
		"session": func() (any, error) {
			v := newVisits(&names{})
			for i := range subjects {
				if err := v.add(each([]visit{{session: hash(i)*0x9e3779b97f4a7c15 | 1, view: true}})); err != nil {
					return nil, err
				}
			}
			return v, nil
		},
		"user of a funnel of 3 steps": func() (any, error) {
			f := newFunnel(3, 10*time.Microsecond)
			return f, deeds(3, f.add)
		},
		"user of a funnel of 10 steps": func() (any, error) {
			f := newFunnel(10, 10*time.Microsecond)
			return f, deeds(10, f.add)
		},
		"session of paths": func() (any, error) {
			t := newTrails(maxPathSteps, false)
			return t, deeds(1, t.add)
		},
		"user of retention": func() (any, error) {
			c := newCohorts([]time.Time{time.Unix(0, 0), time.Unix(1, 0)})
			for i := range subjects {
				if err := c.add(each([]mark{{who: hash(i)*0x9e3779b97f4a7c15 | 1, joins: true}})); err != nil {
					return nil, err
				}
			}
			return c, nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				before := heap()
				state, err := fill()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(heap()-before)/subjects, "B/subject")
				runtime.KeepAlive(state)
			}
		})
	}
}

// BenchmarkInOrder sorts a slice as PostgreSQL gives it: nearly in order.
func BenchmarkInOrder(b *testing.B) {
	rows := make([]deed, sliceRows)
	for i := range rows {
		rows[i] = deed{who: hash(i), moment: moment{time: int64(i)*50_000 + rand.N(int64(5_000_000))}}
	}
	for b.Loop() {
		for d := range inOrder(rows) {
			_ = d
		}
	}
}

// BenchmarkMemory measures what an event takes that is remembered, of a web shop with 70,000
// an hour: nanoseconds to put it there from what PostgreSQL sent, and bytes.
func BenchmarkMemory(b *testing.B) {
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	profile, err := loadgen.Builtin("web-shop")
	require.NoError(b, err)
	profile.Shape, profile.Faults = loadgen.Constant(70_000.0/3600), loadgen.Faults{}
	source, err := loadgen.New(profile, 1, start)
	require.NoError(b, err)
	text := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s)
	}
	hour := piece{Start: start, Minutes: 60}
	var rows [][][]byte
	for len(rows) < 70_000 {
		item, _ := source.Next(nil)
		var e event.Event
		if e.Parse(string(item.Payload)) != nil || !e.Time.Before(hour.end()) || e.Time.Before(start) {
			if e.Time.After(hour.end()) {
				break
			}
			continue
		}
		at := binary.BigEndian.AppendUint64(nil, uint64(e.Time.UnixMicro()-epoch))
		rows = append(rows, [][]byte{at, e.ID[:], text(cmp.Or(e.UserID, e.AnonymousID)), text(e.SessionID), text(e.Type), text(e.Path),
			text(e.Source), text(e.Country), text(e.Device), text(e.Browser), text(e.OS)})
	}
	hour.Events = int64(len(rows))
	b.ReportAllocs()
	for b.Loop() {
		var all common
		decode, list := finder(&all), make([]found, len(rows))
		for i, raw := range rows {
			if err := decode(&list[i], raw); err != nil {
				b.Fatal(err)
			}
		}
		a := gather([]piece{hour}, list, all)[0]
		b.ReportMetric(float64(a.bytes())/float64(len(rows)), "B/event")
		b.ReportMetric(float64(len(a.kinds)), "kinds")
		b.ReportMetric(float64(len(a.origins)), "origins")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rows)), "ns/event")
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
