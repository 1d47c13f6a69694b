package api_test

import (
	"cmp"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

// The ranges begin and end, or those that they are compared with do, on a leap day, on what
// stands for it in a year without one, and where the clocks change: in Berlin by an hour, on
// Lord Howe by half an hour. Events are on every end, and one microsecond before it.
func TestComparedRangesEqualPlainSQLFromRollupsAndRaw(t *testing.T) {
	t.Parallel()
	ranges := []struct{ compare, from, to, wantFrom, wantTo string }{
		{"previous", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z", "2024-02-28T00:00:00Z", "2024-02-29T00:00:00Z"},
		{"previous", "2024-03-01T00:00:00Z", "2024-03-02T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"previous", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", "2026-03-28T00:00:00Z", "2026-03-28T23:00:00Z"},
		{"previous", "2026-03-29T03:00:00+02:00", "2026-03-29T05:30:00+02:00", "2026-03-28T22:30:00Z", "2026-03-29T01:00:00Z"},
		{"previous", "2026-03-29T04:00:00+02:00", "2026-03-29T05:00:00+02:00", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"},
		{"previous", "2026-04-05T00:00:00+11:00", "2026-04-06T00:00:00+10:30", "2026-04-03T12:30:00Z", "2026-04-04T13:00:00Z"},
		{"year", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z", "2023-02-28T00:00:00Z", "2023-03-01T00:00:00Z"},
		{"year", "2024-02-29T06:00:00Z", "2024-02-29T12:00:00Z", "2023-02-28T06:00:00Z", "2023-02-28T12:00:00Z"},
		{"year", "2024-02-29T00:00:00+01:00", "2024-03-01T00:00:00+01:00", "2023-02-28T23:00:00Z", "2023-03-01T23:00:00Z"},
		{"year", "2025-03-01T00:00:00Z", "2025-03-02T00:00:00Z", "2024-03-01T00:00:00Z", "2024-03-02T00:00:00Z"},
		{"year", "2025-02-25T00:00:00Z", "2025-03-04T00:00:00Z", "2024-02-25T00:00:00Z", "2024-03-04T00:00:00Z"}, // a day longer than raw events answer
		{"year", "2025-03-30T03:00:00+02:00", "2025-03-31T00:00:00+02:00", "2024-03-30T01:00:00Z", "2024-03-30T22:00:00Z"},
	}
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		return parsed
	}
	var ends []time.Time
	for _, c := range ranges {
		ends = append(ends, at(c.wantFrom), at(c.wantTo))
	}
	w := newWorld(t, harness.NewSandbox(t))
	aroundBorders(w, ends...)
	w.start()
	for _, c := range ranges {
		from, to := at(c.wantFrom), at(c.wantTo)
		for _, narrow := range narrowed {
			want := cmp.Or(w.tally("''", "''", narrow.sql, from, to)[[2]string{}], zero())
			require.True(t, narrow.filter != "" || want.Events > 0)
			params := url.Values{"from": {c.from}, "to": {c.to}, "compare": {c.compare}, "metrics": {"users,sessions"}, "filter": {narrow.filter}}
			for _, params := range []url.Values{params, asRaw(params)} {
				var got struct {
					Compare struct {
						From, To time.Time
						numbers
					}
				}
				w.ok("/v1/metrics/summary", params, &got)
				require.Equal(t, []time.Time{from, to}, []time.Time{got.Compare.From, got.Compare.To}, params)
				require.Equal(t, want, got.Compare.numbers, params)
			}
		}
	}
}
