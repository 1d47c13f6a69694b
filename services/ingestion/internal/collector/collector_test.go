package collector

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/key"
	"weir/services/ingestion/internal/publish"
	"weir/services/shared/access"
	"weir/services/shared/httpserver"
)

func TestTheEventsOfAStrangerAreNotMade(t *testing.T) {
	t.Parallel()
	keys, err := access.NewRing(access.Source{Keys: []string{"web-shop=secret"}}, key.Parse, nil)
	require.NoError(t, err)
	registry := prometheus.NewRegistry()
	c := &Collector{Config: Config{BodyMemory: MaxBody, RateBurst: 1}, Keys: keys, Publisher: publish.New(publish.Config{}, nil, nil, nil, registry), Partitions: 1}
	c.Register(httpserver.NewAPI("Test", ""), registry)
	made := 0
	entrance := Entrance{MaxBody: MaxBody, KeyInBody: true, Decode: func(_ *Request, body string) (Events, error) {
		return Events{WriteKey: body, Fill: func(events *Events) {
			made++
			events.Add("7", nil)
		}}, nil
	}}
	send := func(writeKey string) (*Outcome, error) {
		return c.Collect(t.Context(), NewRequest(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(writeKey))), entrance)
	}
	for _, writeKey := range []string{"guess", ""} {
		_, err := send(writeKey)
		require.ErrorContains(t, err, "Nothing was taken")
	}
	require.Zero(t, made)
	out, err := send("secret")
	require.NoError(t, err)
	require.Equal(t, 1, out.Rejected)
}
