package segment

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/collector"
)

// batchOf has n messages beside a context of so many bytes.
func batchOf(n, context int) string {
	const message = `{"type":"track","userId":"u","event":"a"}`
	return `{"writeKey":"k","context":{"x":"` + strings.Repeat("x", context-len(`{"x":""}`)) + `"},"batch":[` + message + strings.Repeat(","+message, n-1) + `]}`
}

func decode(body string) (collector.Events, error) {
	return many(collector.NewRequest(nil, &http.Request{URL: &url.URL{}, Header: http.Header{}}), body)
}

func TestAStrangersBatchIsNotTranslated(t *testing.T) {
	t.Parallel()
	events, err := decode(batchOf(3, 100))
	require.NoError(t, err)
	require.Equal(t, "k", events.WriteKey)
	require.Empty(t, events.Payloads, "whose they are is not known yet")
	events.Fill(&events)
	require.Len(t, events.Payloads, 3)
	require.Contains(t, events.Payloads[2], `"x":"xxx`)
}

func TestAContextIsWorkedIntoNoMoreMessagesThanIsCheap(t *testing.T) {
	t.Parallel()
	events, err := decode(batchOf(2500, maxCommon/2500))
	require.NoError(t, err)
	events.Fill(&events)
	require.Len(t, events.Payloads, 2500)
	for _, c := range []struct{ messages, context int }{{2500, maxCommon/2500 + 1}, {22, 490 << 10}} {
		_, err = decode(batchOf(c.messages, c.context))
		require.ErrorContains(t, err, "10485760")
	}
}
