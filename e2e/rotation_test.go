package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestKeysAreExchangedWithoutARestart takes every kind of key through a rotation: the old
// one alone, both, the new one alone. Then somebody breaks the file.
func TestKeysAreExchangedWithoutARestart(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)
	dir := t.TempDir()
	for _, c := range []struct {
		program, setting, prefix string
		method, path, body       string
	}{
		{"weir-ingestion", "INGESTION_WRITE_KEYS", "shop=", http.MethodPost, "/v1/events", `{"type":"a","user_id":"u"}`},
		{"weir-ingestion", "ADMIN_KEYS", "", http.MethodGet, "/v1/generator", ""},
		{"weir-consumer", "ADMIN_KEYS", "", http.MethodGet, "/v1/status", ""},
		{"weir-api", "API_READ_KEYS", "", http.MethodGet, "/v1/status", ""},
	} {
		t.Run(c.program+" "+c.setting, func(t *testing.T) {
			file := filepath.Join(dir, t.Name()[strings.LastIndex(t.Name(), "/")+1:])
			write := func(keys ...string) {
				t.Helper()
				text := ""
				for _, k := range keys {
					text += c.prefix + k + "\n"
				}
				require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
				require.NoError(t, os.Rename(file+".new", file))
			}
			write("old-secret")
			p, out := runFrom(t, box, binaries(t), c.program, "APP_ENV=production", "ADMIN_KEYS=of-no-concern", "INGESTION_WRITE_KEYS=web=of-no-concern",
				"API_READ_KEYS=of-no-concern", c.setting+"=", c.setting+"_FILE="+file)
			status := func(key string) int {
				return do(t, c.method, p.URL+c.path, "application/json", c.body, "Authorization", "Bearer "+key).status
			}
			becomes := func(key string, good bool) {
				t.Helper()
				require.Eventually(t, func() bool {
					s := status(key)
					require.Contains(t, []int{200, 202, 403}, s)
					return (s < 300) == good
				}, patience, 50*time.Millisecond)
			}
			becomes("old-secret", true)
			becomes("new-secret", false)
			write("old-secret", "new-secret")
			becomes("new-secret", true)
			becomes("old-secret", true)
			write("new-secret")
			becomes("old-secret", false)
			becomes("new-secret", true)

			write()
			require.Eventually(t, func() bool { becomes("new-secret", true); return strings.Contains(out.String(), "cannot be used") },
				patience, 50*time.Millisecond)
			becomes("anything", false)
			write("third-secret")
			becomes("third-secret", true)
			becomes("new-secret", false)
			require.NotContains(t, out.String(), "-secret")
			stop(t, p)
		})
	}
	require.Zero(t, number(t, pool, `SELECT count(*) FROM events WHERE source <> 'shop'`), "the key in the file decides the source")
}
