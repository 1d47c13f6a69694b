package metric

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/api/internal/span"
)

func TestPartsCoverTheSpanOnceWithTheCoarsestGrains(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 2000 {
		s := span.Span{From: start.Add(time.Duration(rand.N(5000)) * time.Minute)}
		s.To = s.From.Add(time.Duration(1+rand.N(6000)) * time.Minute)
		at := s.From
		for i, p := range parts(s, nil) {
			require.True(t, p.From.Equal(at), "part %d of %v", i, s)
			require.True(t, p.From.Before(p.To))
			require.True(t, p.From.Truncate(p.size).Equal(p.From) && p.To.Truncate(p.size).Equal(p.To))
			if p.size < 24*time.Hour { // a finer part never holds a whole coarser bucket
				coarser := map[time.Duration]time.Duration{time.Minute: time.Hour, time.Hour: 24 * time.Hour}[p.size]
				require.False(t, span.Ceil(p.From, coarser).Before(p.To.Truncate(coarser)))
			}
			at = p.To
		}
		require.True(t, at.Equal(s.To))
		require.LessOrEqual(t, len(parts(s, nil)), 5)
	}
}

func TestNoCellLiesInTwoBucketsAndNoneIsFinerThanItMustBe(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 500 {
		s := span.Span{From: start.Add(time.Duration(rand.N(400_000)) * time.Minute)}
		s.To = s.From.Add(time.Duration(1+rand.N(100_000)) * time.Minute)
		zone, err := span.Zone([]string{"UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"}[rand.N(6)])
		require.NoError(t, err)
		buckets, err := []span.Interval{"hour", "day", "week", "month"}[rand.N(4)].Buckets(s, zone)
		require.NoError(t, err)
		border := map[time.Time]bool{}
		for _, b := range buckets {
			border[b.UTC()] = true
		}
		at := s.From
		for _, p := range parts(s, buckets) {
			require.True(t, p.From.Equal(at))
			for cell := range p.buckets() {
				require.True(t, cell.Truncate(p.size).Equal(cell))
				for minute := cell.Add(time.Minute); minute.Before(cell.Add(p.size)); minute = minute.Add(time.Minute) {
					require.False(t, border[minute], "%v of %v has a border at %v", p.size, cell, minute)
				}
			}
			at = p.To
		}
		require.True(t, at.Equal(s.To))
	}
}

func TestBucketsOfAnyZoneTakeFewCells(t *testing.T) {
	t.Parallel()
	year := span.Span{From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, c := range []struct {
		interval span.Interval
		zone     string
		parts    int
		cells    int
	}{
		{"day", "UTC", 1, 365},
		{"month", "UTC", 1, 365},
		{"month", "Europe/Berlin", 24, 353 + 12*24},
		{"day", "Europe/Berlin", 1, 8760},
		{"month", "Asia/Kolkata", 12 * 4, 353 + 12*23 + 12*60},
		{"day", "Asia/Kolkata", 2*365 + 1, 365*23 + 365*60},
	} {
		zone, err := span.Zone(c.zone)
		require.NoError(t, err)
		buckets, err := c.interval.Buckets(year, zone)
		require.NoError(t, err)
		parts := parts(year, buckets)
		all, _ := cells(parts)
		require.Equal(t, []int{c.parts, c.cells}, []int{len(parts), all}, "%s of %s", c.interval, c.zone)
	}
}
