package live

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestASilentStreamGoesOn says nothing for longer than one message may take: over HTTP/2 the
// deadline of a write ends the answer, unless it is lifted.
func TestASilentStreamGoesOn(t *testing.T) {
	t.Parallel()
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, err := newStream(w)
				if err != nil {
					return
				}
				defer s.free()
				for range 2 {
					if s.write(newPacket([]byte("{}"))) != nil {
						return
					}
					select {
					case <-time.After(writeTimeout + time.Second):
					case <-r.Context().Done():
					}
				}
			}))
			server.EnableHTTP2 = http2
			server.Config.ReadTimeout = time.Second // which is for the request
			server.StartTLS()
			defer server.Close()
			r, err := server.Client().Get(server.URL)
			require.NoError(t, err)
			defer r.Body.Close()
			require.Equal(t, name == "HTTP/2", r.ProtoMajor == 2)
			said := 0
			lines := bufio.NewScanner(r.Body)
			for said < 2 && lines.Scan() {
				if lines.Text() == "data: {}" {
					said++
				}
			}
			require.Equal(t, 2, said, lines.Err())
		})
	}
}
