package live

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/api/internal/decimal"
	"weir/services/shared/rollup"
)

func TestVisibilityTellsWhichTransactionsASnapshotSees(t *testing.T) {
	t.Parallel()
	v, err := parseVisibility("10:20:12,15")
	require.NoError(t, err)
	for xid, seen := range map[uint64]bool{9: true, 10: true, 11: true, 12: false, 15: false, 19: true, 20: false, 21: false} {
		require.Equal(t, seen, v.sees(xid), xid)
	}
	v, err = parseVisibility("7:7:")
	require.NoError(t, err)
	require.True(t, v.sees(6))
	require.False(t, v.sees(7))
	for _, bad := range []string{"", "1:2", "a:2:", "1:b:", "1:2:c"} {
		_, err := parseVisibility(bad)
		require.Error(t, err, bad)
	}
}

func TestRingGivesWhatWasMissedOrSaysThatItCannot(t *testing.T) {
	t.Parallel()
	r := ring{messages: 3, bytes: 10}
	r.reset(0)
	missed, ok := r.since(0)
	require.True(t, ok)
	require.Empty(t, missed)
	for seq := range uint64(5) {
		r.push(seq+1, &packet{data: []byte{byte(seq + 1)}})
	}
	missed, ok = r.since(2)
	require.True(t, ok)
	require.Equal(t, burst{{data: []byte{3}}, {data: []byte{4}}, {data: []byte{5}}}, missed)
	_, ok = r.since(1)
	require.False(t, ok, "it holds three messages")
	_, ok = r.since(6)
	require.False(t, ok, "there was no such message")

	r.push(6, &packet{data: make([]byte, 9)})
	missed, ok = r.since(4)
	require.True(t, ok)
	require.Len(t, missed, 2)
	r.push(7, &packet{data: make([]byte, 11)})
	_, ok = r.since(6)
	require.False(t, ok, "it holds ten bytes")
}

func TestWindowKeepsTypesOfItsMinutesOnly(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 30, 59, 0, time.UTC)
	from := windowStart(now)
	require.Equal(t, time.Date(2026, 1, 1, 11, 31, 0, 0, time.UTC), timeOf(from))
	b := reduce(&rollup.Batch{XID: 5, Deltas: []rollup.Delta{
		{Minute: from, Key: rollup.Key{Type: "a"}, Events: 1, Value: 500_000},
		{Minute: from, Key: rollup.Key{Type: "a"}, Events: 2, Value: 500_000},
		{Minute: from, Key: rollup.Key{Dimension: rollup.Path, Type: "a", Value: "/"}, Events: 3},
		{Minute: from - 1, Key: rollup.Key{Type: "a"}, Events: 4},
	}}, from)
	require.True(t, b.counts.equal(window{{from, "a"}: {3, decimal.FromInt64(1_000_000)}}))

	w := window{{from, "b"}: {1, decimal.Micros{}}}
	w.addAll(b.counts)
	require.True(t, w.total().equal(count{4, decimal.FromInt64(1_000_000)}))
	require.False(t, w.equal(b.counts))
	w.trim(from + 1)
	require.True(t, w.equal(window{}))
}
