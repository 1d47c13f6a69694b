package quota_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/key"
	"weir/services/ingestion/internal/quota"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var one, another = key.ID{1}, key.ID{2}

func TestAKeySpendsItsOwnBucketWhichFillsUp(t *testing.T) {
	t.Parallel()
	q := quota.New(10, 100)
	h, err := q.Take(one, 70, now)
	require.NoError(t, err)
	require.Equal(t, quota.Headers{RateLimit: `"events";r=30;t=7`, Policy: `"events";q=100;w=10`}, h)

	_, err = q.Take(one, 50, now)
	require.Equal(t, http.StatusTooManyRequests, status(t, err))
	var headers huma.HeadersError
	require.ErrorAs(t, err, &headers)
	require.Equal(t, "2", headers.GetHeaders().Get("Retry-After"))
	require.Equal(t, `"events";r=30;t=7`, headers.GetHeaders().Get("RateLimit"))
	require.Equal(t, `"events";q=100;w=10`, headers.GetHeaders().Get("RateLimit-Policy"))

	_, err = q.Take(another, 100, now)
	require.NoError(t, err, "another key has another bucket")
	h, err = q.Take(one, 50, now.Add(2*time.Second))
	require.NoError(t, err, "after the time that Retry-After said")
	require.Equal(t, `"events";r=0;t=10`, h.RateLimit)
}

func TestABatchThatCanNeverPassIsNotToldToComeBack(t *testing.T) {
	t.Parallel()
	_, err := quota.New(10, 100).Take(one, 101, now)
	require.Equal(t, http.StatusRequestEntityTooLarge, status(t, err))
	require.ErrorContains(t, err, "at most 100")
}

func TestWithoutARateThereIsNoLimit(t *testing.T) {
	t.Parallel()
	h, err := quota.New(0, 1).Take(one, 20_000, now)
	require.NoError(t, err)
	require.Empty(t, h)
}

func status(t *testing.T, err error) int {
	t.Helper()
	var s huma.StatusError
	require.True(t, errors.As(err, &s), "%v", err)
	return s.GetStatus()
}
