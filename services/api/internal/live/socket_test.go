package live

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// TestAClientThatReadsNothingIsGone fills the buffers of a connection whose client never
// reads: the write that finds no room ends it, and says why.
func TestAClientThatReadsNothingIsGone(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := accept(w, r, newClient(1), nil)
		for p := newPacket([]byte(strings.Repeat("x", 1<<20))); err == nil; {
			err = s.write(p)
		}
		s.free()
		ended <- err
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 12*writeTimeout)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, server.URL, nil)
	require.NoError(t, err)
	defer conn.CloseNow() //nolint:errcheck // the server closed it
	select {
	case err := <-ended:
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	case <-ctx.Done():
		require.Fail(t, "the write still waits")
	}
	conn.SetReadLimit(-1)
	for err == nil {
		_, _, err = conn.Read(ctx)
	}
	require.NoError(t, ctx.Err(), "the connection is still open")
}
