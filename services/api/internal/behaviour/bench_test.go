package behaviour

import (
	"iter"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
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

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
