package behaviour

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// someDeeds makes events of a few users that often share a time, in the order of time
// and id.
func someDeeds(n, users, times, steps int) []deed {
	rows := make([]deed, n)
	for i := range rows {
		rows[i] = deed{who: hash(1 + rand.N(users)), moment: moment{time: rand.N(int64(times))}, steps: uint16(rand.N(1 << steps)), label: hash(1 + rand.N(3))}
		rows[i].id[0], rows[i].id[14], rows[i].id[15] = byte(rand.N(256)), byte(i>>8), byte(i) // no two are the same
		if rand.N(3) > 0 {
			rows[i].steps &= uint16(rand.N(1 << steps))
		}
	}
	slices.SortFunc(rows, func(a, b deed) int {
		return cmp.Or(cmp.Compare(a.time, b.time), bytes.Compare(a.id[:], b.id[:]))
	})
	return rows
}

func TestASliceIsInTheOrderOfTimeAndId(t *testing.T) {
	t.Parallel()
	for _, length := range []int{0, 1, 2, 300} {
		for _, times := range []int{1, 20, 1 << 30, 1 << 50} { // the last are farther apart than 61 days
			want := someDeeds(length, 5, times, 2)
			rows := slices.Clone(want)
			rand.Shuffle(length, func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			got := []deed{}
			for d := range inOrder(rows) {
				got = append(got, *d)
			}
			require.Equal(t, want, got)
		}
	}
}

// inParts hands rows over part by part, as a scan does that found them in no order.
func inParts(t *testing.T, rows []deed, add func(iter.Seq[*deed]) error) {
	t.Helper()
	rows = slices.Clone(rows)
	for len(rows) > 0 {
		n := 1 + rand.N(len(rows))
		for n < len(rows) && rows[n].time == rows[n-1].time {
			n++ // a slice ends between two times
		}
		part := rows[:n]
		rand.Shuffle(n, func(i, j int) { part[i], part[j] = part[j], part[i] })
		require.NoError(t, add(inOrder(part)))
		rows = rows[n:]
	}
}

// naive tries every first step of a user, and takes for each further step the next
// event of it.
func naive(mine []deed, steps int, window int64) (best attempt) {
	at := -1 // where the best one took its last step
	for i := range mine {
		if mine[i].steps&1 == 0 {
			continue
		}
		a := attempt{start: int32(i + 1), label: mine[i].label, begun: mine[i].time}
		reached := []int{i}
		for j := i + 1; j < len(mine) && a.depth() < steps; j++ {
			if mine[j].time-mine[i].time <= window && mine[j].steps&(1<<a.depth()) != 0 {
				a.later, reached = append(a.later, mine[j].time), append(reached, j)
			}
		}
		last := reached[len(reached)-1]
		if a.depth() > best.depth() || a.depth() == best.depth() && last <= at {
			best, at = a, last
		}
	}
	return best
}

func TestBestAttemptIsWhatTryingAllOfThemFinds(t *testing.T) {
	t.Parallel()
	for range 3000 {
		steps, window := 2+rand.N(3), int64(1+rand.N(30))
		rows := someDeeds(1+rand.N(60), 3, 10+rand.N(60), steps)
		f := newFunnel(steps, time.Duration(window)*time.Microsecond)
		inParts(t, rows, f.add)
		for who := hash(1); who <= 3; who++ {
			var mine []deed
			for _, r := range rows {
				if r.who == who {
					mine = append(mine, r)
				}
			}
			want := naive(mine, steps, window)
			got := f.users.find(who)
			if want.depth() == 0 {
				require.Nil(t, got)
				continue
			}
			require.Equal(t, want.begun, got.best.begun)
			require.Equal(t, want.later, got.best.later)
			require.Equal(t, want.label, got.best.label)
		}
	}
}

func TestPathsAreTheEventsNextToTheFirstOne(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{false, true} {
		for range 1000 {
			rows := someDeeds(1+rand.N(60), 4, 60, 2)
			trails := newTrails(1+rand.N(maxPathSteps), before)
			inParts(t, rows, trails.add)
			want, sessions := map[string]int64{}, int64(0)
			name := map[hash]string{1: "a", 2: "b", 3: "c"}
			for who := hash(1); who <= 4; who++ {
				var mine []string
				start := -1
				for _, r := range rows {
					if r.who != who {
						continue
					}
					if r.steps&1 != 0 && start < 0 {
						start = len(mine)
					}
					mine = append(mine, name[r.label])
				}
				if start < 0 {
					continue
				}
				sessions++
				if before {
					want[fmt.Sprint(mine[max(0, start-trails.steps):start+1])]++
				} else {
					want[fmt.Sprint(mine[start:min(len(mine), start+trails.steps+1)])]++
				}
			}
			a := trails.answer(name, 50)
			got := map[string]int64{}
			for _, p := range a.Paths {
				got[fmt.Sprint(p.Path)] = p.Sessions
			}
			require.Equal(t, want, got)
			require.Equal(t, sessions, a.Sessions)
			require.Zero(t, a.Other)
			one := trails.answer(name, 1) // what is not shown is summed
			if sessions > 0 {
				require.Equal(t, sessions, one.Paths[0].Sessions+one.Other)
			}
			sum := func(list []Transition) (n int64) {
				for _, l := range list {
					n += l.Sessions
				}
				return n
			}
			require.Equal(t, sum(a.Transitions), sum(one.Transitions))
		}
	}
}

func TestWindowIsADuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"1s": time.Second, "30m": 30 * time.Minute, "7d": 168 * time.Hour, "30d": 720 * time.Hour, "720h": 720 * time.Hour} {
		got, ok := parseWindow(text)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "d", "0d", "31d", "-1d", "1.5d", "0s", "721h", "-1h", "a week", "99999999999999999999d", "1ms", "+3d"} {
		_, ok := parseWindow(text)
		require.False(t, ok, text)
	}
}
