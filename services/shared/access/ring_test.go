package access

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeysOfAFileAreExchangedWhileOldAndNewAreGood(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write("# of the dashboard\nold\n")
	var said bytes.Buffer
	k, err := New("read", Source{Setting: "API_READ_KEYS", File: file}, slog.New(slog.NewTextHandler(&said, nil)))
	require.NoError(t, err)
	expect := func(before, after int) {
		t.Helper()
		k.ring.due.Store(0) // as if the time were up
		require.Equal(t, before, k.Check("Bearer old"))
		require.Equal(t, after, k.Check("Bearer new"))
	}
	expect(0, 403)
	write("old\r\n\n new \n")
	expect(0, 0)
	write("new")
	expect(403, 0)

	for _, broken := range []func(){
		func() { write("") },
		func() { write("# none\n") },
		func() { require.NoError(t, os.Remove(file)) },
	} {
		broken()
		expect(403, 0)
		before := said.Len()
		expect(403, 0)
		require.Equal(t, before, said.Len(), "it is said once")
	}
	write("old")
	expect(0, 403)
	require.Equal(t, 3, bytes.Count(said.Bytes(), []byte("cannot be used")))
	require.Equal(t, 3, bytes.Count(said.Bytes(), []byte("read anew")))
	require.NotContains(t, said.String(), "old")
}

func TestKeysThatCannotBeReadAreFoundAtStart(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for says, source := range map[string]Source{
		"ADMIN_KEYS_FILE cannot be read":      {File: empty + "-not"},
		"ADMIN_KEYS_FILE names a file withou": {File: empty},
		"give one":                            {File: empty, Keys: []string{"secret"}},
	} {
		source.Setting = "ADMIN_KEYS"
		_, err := New("admin", source, nil)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "secret")
	}
}
