package access

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyAKnownKeyIsLetIn(t *testing.T) {
	t.Parallel()
	k, err := New("admin", Source{Keys: []string{"one", "two"}}, nil)
	require.NoError(t, err)
	for given, status := range map[string]int{
		"": 401, "one": 401, "Basic one": 401, "Bearer": 401, "Bearer ": 401, "Bearer three": 403, "Bearer on": 403,
		"Bearer one": 0, "bearer  two ": 0,
	} {
		require.Equal(t, status, k.Check(given), given)
	}
	k, err = New("admin", Source{}, nil)
	require.NoError(t, err)
	require.Zero(t, k.Check(""), "without keys everybody may; configuration allows that in development only")
}
