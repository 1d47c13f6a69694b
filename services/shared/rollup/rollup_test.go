package rollup_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/services/shared/rollup"
)

func TestBatchSurvivesTheWire(t *testing.T) {
	t.Parallel()
	want := rollup.Batch{XID: 1 << 40, Deltas: []rollup.Delta{
		{Minute: 29539440, Key: rollup.Key{Type: "page_view"}, Events: 3},
		{Minute: 29539441, Key: rollup.Key{Dimension: rollup.Path, Type: "purchase", Value: "/a \"b\" é\\"}, Events: 1, Value: -1_500_000},
	}}
	var got rollup.Batch
	require.NoError(t, json.Unmarshal(want.AppendJSON(nil), &got))
	require.Equal(t, want, got)

	want.Sample = []json.RawMessage{json.RawMessage(`{"a":1}`), json.RawMessage(`{"a":[2]}`)}
	require.NoError(t, json.Unmarshal(want.AppendJSON(nil), &got))
	require.Equal(t, want, got)
}

func TestBadBatchesAreRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{`{`, `{"xid":1,"deltas":[[1]]}`, `{"xid":1,"deltas":[[1,-1,"a","",1,0]]}`, `{"xid":1,"deltas":[["x",0,"a","",1,0]]}`,
		`{"xid":1}`, `{"xid":1,"deltas":[[1,0,"a","",1,0]`, `{"xid":1,"deltas":[[1,0,"a","",1,0,7]]}`, `{"xid":1,"deltas":[[1,0,"a","",1.5,0]]}`,
		`{"xid":1,"deltas":[[1,0,"a",7,1,0]]}`, `{"xid":1,"deltas":[1]}`, `{"xid":1,"deltas":{}}`, `{"xid":1,"deltas":[[4294967296,0,"a","",1,0]]}`} {
		require.Error(t, json.Unmarshal([]byte(bad), new(rollup.Batch)), bad)
	}
}

func TestDeltasOfDimensionsToComeAreLeftOut(t *testing.T) {
	t.Parallel()
	var b rollup.Batch
	require.NoError(t, json.Unmarshal([]byte(`{"xid":1,"deltas":[[1,99,"a","x",1,0],[1,0,"a","",2,0]]}`), &b))
	require.Equal(t, []rollup.Delta{{Minute: 1, Key: rollup.Key{Type: "a"}, Events: 2}}, b.Deltas)
}

func TestDimensionNamesReadBack(t *testing.T) {
	t.Parallel()
	for i := range rollup.Dimensions {
		d, ok := rollup.ParseDimension(rollup.Dimension(i).String())
		require.True(t, ok)
		require.Equal(t, rollup.Dimension(i), d)
	}
	_, ok := rollup.ParseDimension("colour")
	require.False(t, ok)
}
