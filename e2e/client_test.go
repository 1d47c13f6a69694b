package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/openapi/client/api"
	"weir/openapi/client/consumer"
	"weir/openapi/client/ingestion"
)

// TestGeneratedClientsSendAndAsk does what the client of a stranger would.
func TestGeneratedClientsSendAndAsk(t *testing.T) {
	t.Parallel()
	w := start(t)
	sender, err := ingestion.NewClientWithResponses(w.ingestion)
	require.NoError(t, err)
	asker, err := api.NewClientWithResponses(w.api)
	require.NoError(t, err)
	operator, err := consumer.NewClientWithResponses(w.consumer)
	require.NoError(t, err)

	key := "shop"
	sent, err := sender.PostEventsWithBodyWithResponse(t.Context(), &ingestion.PostEventsParams{WriteKey: &key}, "application/json",
		strings.NewReader(`{"type": "purchase", "user_id": "u", "value": 49.95, "currency": "EUR"}`))
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, sent.StatusCode(), string(sent.Body))
	require.EqualValues(t, 1, sent.JSON202.Accepted)
	reach(t, w.pool, 1, `SELECT count(*) FROM events`)

	summary, err := asker.GetMetricsSummaryWithResponse(t.Context(), &api.GetMetricsSummaryParams{})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, summary.StatusCode(), string(summary.Body))
	require.EqualValues(t, 1, summary.JSON200.Events)
	wrong := api.ListEventsParams{}
	limit := int64(-1)
	wrong.Limit = &limit
	refused, err := asker.ListEventsWithResponse(t.Context(), &wrong)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnprocessableEntity, refused.StatusCode())
	require.NotEmpty(t, refused.ApplicationproblemJSON422.Errors)

	status, err := operator.GetStatusWithResponse(t.Context())
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status.StatusCode())
	require.EqualValues(t, "running", status.JSON200.State)
}
