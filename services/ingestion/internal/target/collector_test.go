package target

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/generator"
)

func TestACollectorOutOfReachIsGivenUpOn(t *testing.T) {
	t.Parallel()
	c, err := NewCollector("http://127.0.0.1:1/", "", 1)
	require.NoError(t, err)
	defer c.Close()
	c.patience = 200 * time.Millisecond
	_, err = c.Send(t.Context(), &generator.Batch{})
	require.ErrorContains(t, err, "cannot be reached")
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	t.Parallel()
	require.Equal(t, 7*time.Second, retryAfter("7"))
	require.InDelta(t, 10, retryAfter(time.Now().Add(10*time.Second).UTC().Format(http.TimeFormat)).Seconds(), 1.1)
	require.Equal(t, time.Second, retryAfter("soon"))
	require.Equal(t, 100*time.Millisecond, retryAfter("0"))
	require.Equal(t, longestWait, retryAfter("99999999"))
}

func TestTheAddressIsChecked(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "localhost:3002", "ftp://x", "http://", "://"} {
		_, err := NewCollector(address, "", 1)
		require.Error(t, err, address)
	}
}
