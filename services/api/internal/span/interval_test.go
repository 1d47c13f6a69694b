package span

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBucketsFollowTheLocalClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		interval, zone, from, to string
		want                     []string
	}{
		{"day", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", // 23 hours
			[]string{"2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"}},
		{"day", "Australia/Sydney", "2026-04-04T14:00:00Z", "2026-04-06T00:00:00Z", // 25 hours
			[]string{"2026-04-05T00:00:00+11:00", "2026-04-06T00:00:00+10:00"}},
		{"hour", "Europe/Berlin", "2026-10-24T23:30:00Z", "2026-10-25T02:00:00Z", // 2 o'clock twice
			[]string{"2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"}},
		{"hour", "Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z",
			[]string{"2026-01-01T05:00:00+05:30", "2026-01-01T06:00:00+05:30"}},
		{"hour", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", "2026-04-04T16:00:00Z", // half an hour back
			[]string{"2026-04-05T01:00:00+11:00", "2026-04-05T01:30:00+10:30", "2026-04-05T02:00:00+10:30"}},
		{"day", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-05T12:00:00Z", // midnight did not happen
			[]string{"2018-11-03T00:00:00-03:00", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"}},
		{"day", "America/Sao_Paulo", "2018-02-17T12:00:00Z", "2018-02-18T12:00:00Z", // 24:00 became 23:00
			[]string{"2018-02-17T00:00:00-02:00", "2018-02-18T00:00:00-03:00"}},
		{"day", "Atlantic/Azores", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", // midnight twice
			[]string{"2026-10-24T00:00:00Z", "2026-10-25T00:00:00Z"}},
		{"day", "Pacific/Apia", "2011-12-29T12:00:00Z", "2012-01-01T00:00:00Z", // there was no 30th
			[]string{"2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"}},
		{"week", "UTC", "2026-01-01T00:00:00Z", "2026-01-12T00:00:00Z", []string{"2025-12-29T00:00:00Z", "2026-01-05T00:00:00Z"}},
		{"month", "Europe/Berlin", "2026-01-31T23:00:00Z", "2026-04-30T00:00:00Z",
			[]string{"2026-02-01T00:00:00+01:00", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"}},
	} {
		loc, err := Zone(c.zone)
		require.NoError(t, err)
		at := func(s string) time.Time { v, err := time.Parse(time.RFC3339, s); require.NoError(t, err); return v }
		starts, err := Interval(c.interval).Buckets(Span{at(c.from), at(c.to)}, loc)
		require.NoError(t, err)
		var got []string
		for _, s := range starts {
			text := s.Format(time.RFC3339)
			if c.zone == "Atlantic/Azores" {
				text = s.Format("2006-01-02T15:04:05Z")
			}
			got = append(got, text)
		}
		require.Equal(t, c.want, got, "%s %s", c.interval, c.zone)
	}
}

func TestUnknownZonesAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Local", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "'; DROP TABLE events; --"} {
		_, err := Zone(name)
		require.Error(t, err, name)
	}
}
