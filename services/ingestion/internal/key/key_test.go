package key_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/key"
)

func TestKeysNameTheirSource(t *testing.T) {
	t.Parallel()
	keys, err := key.Parse([]string{"web-shop=k1", "app=k2=with=equals"})
	require.NoError(t, err)
	for _, c := range []struct {
		authorization, header, query, source string
		err                                  error
	}{
		{"Bearer k1", "", "", "web-shop", nil},
		{"bearer  k2=with=equals", "", "", "app", nil},
		{"Basic " + base64.StdEncoding.EncodeToString([]byte("k1:")), "", "", "web-shop", nil},
		{"", "k1", "", "web-shop", nil},
		{"", "", "k1", "web-shop", nil},
		{"Bearer k1", "", "k3", "web-shop", nil},
		{"", "", "", "", key.ErrMissing},
		{"Basic %%%", "", "", "", key.ErrMissing},
		{"Bearer k3", "", "", "", key.ErrWrong},
		{"Bearer web-shop", "", "", "", key.ErrWrong},
	} {
		sender, err := keys.Find(key.Given(c.authorization, c.header, c.query))
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.source, sender.Source)
	}
}

func TestWithoutKeysAKeyIsTheSourcesName(t *testing.T) {
	t.Parallel()
	var keys key.Keys
	sender, err := keys.Find("my-shop")
	require.NoError(t, err)
	require.Equal(t, "my-shop", sender.Source)
	sender, err = keys.Find("")
	require.NoError(t, err)
	require.Empty(t, sender.Source)
	_, err = keys.Find("no spaces")
	require.ErrorIs(t, err, key.ErrWrong)
}

func TestEveryBadKeyIsNamedByItsPlace(t *testing.T) {
	t.Parallel()
	_, err := key.Parse([]string{"secret", "a=k", "no spaces=secret", "b="})
	require.ErrorContains(t, err, "entry 1")
	require.ErrorContains(t, err, "entry 3")
	require.ErrorContains(t, err, "entry 4")
	require.NotContains(t, err.Error(), "secret")
}
