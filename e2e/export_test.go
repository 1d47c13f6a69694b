package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAnExportOfAnySizeTakesBoundedMemory exports 160 MB, of which the api, in a process of
// its own, may keep a few pages.
func TestAnExportOfAnySizeTakesBoundedMemory(t *testing.T) {
	t.Parallel()
	const events, room = 20_000, 48 << 20
	box, now := sandbox(t), time.Now().UTC().Truncate(time.Hour)
	today := now.Truncate(24 * time.Hour)
	from, to := today.Add(-24*time.Hour).Format(time.RFC3339), today.Add(24*time.Hour).Format(time.RFC3339)
	pool := open(t, box)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO events (id, time, type, source, user_id, properties)
		SELECT gen_random_uuid(), $2::timestamptz - n * interval '1 second', 'click', 'web', 'u', jsonb_build_object('text', repeat('x', 8000))
		FROM generate_series(1, $1) AS n`, events, now)
	require.NoError(t, err)
	// Rollups tell where there are events.
	c := exec.CommandContext(t.Context(), filepath.Join(string(binaries(t)), "weir-consumer"), "rebuild", "--from", from, "--to", to)
	for name, value := range environment(box) {
		c.Env = append(c.Env, name+"="+value)
	}
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	api := run(t, box, "weir-api")
	before := resident(api)
	if before == 0 {
		t.Skip("there is no /proc here: how much memory a process has cannot be seen")
	}

	// The test's own client would keep the answer, to judge it.
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.URL+"/v1/export?from="+from+"&to="+to, nil)
	require.NoError(t, err)
	request.Header.Set("Accept-Encoding", "identity")
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	var read, most int64
	for {
		n, err := io.CopyN(io.Discard, response.Body, 4<<20)
		read, most = read+n, max(most, resident(api))
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	t.Logf("an export of %d MB; the api had %d MiB before, and %d at most", read/1e6, before>>20, most>>20)
	require.Equal(t, fmt.Sprint(events), response.Trailer.Get("Weir-Export-Events"))
	require.Greater(t, read, int64(events*8000))
	require.Less(t, most, before+room)
}
