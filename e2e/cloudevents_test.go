package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/stretchr/testify/require"
)

func TestTheCloudEventsSDKSendsInEveryModeAndItsRetriesStayOneRow(t *testing.T) {
	t.Parallel()
	w := start(t, keys("shop=secret"))
	endpoint, served := lossy(t, w.ingestion, 1)
	client, err := cloudevents.NewClientHTTP(
		cloudevents.WithTarget(endpoint+"/v1/cloudevents"), cloudevents.WithHeader("Authorization", "Bearer secret"))
	require.NoError(t, err)
	at := time.Now().UTC().Add(-time.Minute).Truncate(time.Microsecond)
	order := func(id string) cloudevents.Event {
		e := cloudevents.NewEvent()
		e.SetID(id)
		e.SetSource("/shop/orders")
		e.SetType("com.example.Order.Completed")
		e.SetSubject("order é")
		e.SetTime(at)
		e.SetExtension("userid", "u1")
		require.NoError(t, e.SetData(cloudevents.ApplicationJSON, map[string]any{"value": 49.95, "currency": "EUR", "path": "/done", "order": id}))
		return e
	}
	// Twice only once: the first answer is lost. But never without a pause, or whatever else
	// goes wrong is asked for until the process has no more files.
	send := func(ctx context.Context, e cloudevents.Event) {
		t.Helper()
		require.Eventually(t, func() bool { return cloudevents.IsACK(client.Send(ctx, e)) }, patience, 50*time.Millisecond)
	}
	send(cloudevents.WithEncodingBinary(t.Context()), order("1"))
	send(cloudevents.WithEncodingStructured(t.Context()), order("1")) // the same event
	send(cloudevents.WithEncodingStructured(t.Context()), order("2"))
	require.EqualValues(t, 4, served.Load())

	request, err := cehttp.NewHTTPRequestFromEvents(t.Context(), endpoint+"/v1/cloudevents", []cloudevents.Event{order("2"), order("3")})
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer secret")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusAccepted, response.StatusCode)

	reach(t, w.pool, 3, `SELECT count(*) FROM events`)
	settle(t, w)
	require.EqualValues(t, 3, number(t, w.pool, `
		SELECT count(*) FROM events WHERE type = 'com.example.order.completed' AND source = 'shop' AND user_id = 'u1' AND time = $1
			AND value = 49.95 AND currency = 'EUR' AND path = '/done' AND properties ? 'order'
			AND properties -> 'cloudevent' ->> 'type' = 'com.example.Order.Completed' AND properties -> 'cloudevent' ->> 'subject' = 'order é'`, at))
	rollupsEqualRaw(t, w.pool)
}

func TestCloudEventsThatAreNoneAreRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	w := start(t)
	const one = `{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2026-01-02T15:04:05Z","userid":"u"`
	for name, c := range map[string]struct {
		contentType, body string
		status            int
		says              string
	}{
		"not one at all":      {"application/json", `{}`, 415, "ce-specversion"},
		"no type at all":      {"", `{}`, 415, "ce-specversion"},
		"another format":      {"application/cloudevents+xml", `<event/>`, 415, "application/cloudevents+json"},
		"wrong media type":    {"application/cloudevents+json; charset", one + `}`, 415, "media type"},
		"not JSON":            {"application/cloudevents+json", one, 400, "not valid JSON"},
		"batch of one":        {"application/cloudevents-batch+json", one + `}`, 400, "array"},
		"an old version":      {"application/cloudevents+json", `{"specversion":"0.3","id":"1","source":"/s","type":"t"}`, 422, "1.0"},
		"no time":             {"application/cloudevents+json", `{"specversion":"1.0","id":"1","source":"/s","type":"t","userid":"u"}`, 422, "body.time"},
		"nobody did it":       {"application/cloudevents+json", strings.Replace(one, "userid", "other", 1) + `}`, 422, "user_id"},
		"second in the batch": {"application/cloudevents-batch+json", `[` + strings.Replace(one, "userid", "other", 1) + `},{}]`, 422, "body[1].id"},
	} {
		r := postWhenUp(t, w.ingestion+"/v1/cloudevents", c.contentType, c.body)
		require.Equal(t, c.status, r.status, "%s: %s", name, r.body)
		require.Contains(t, r.body, c.says, name)
		require.Equal(t, "application/problem+json", r.header.Get("Content-Type"), name)
	}
	r := postWhenUp(t, w.ingestion+"/v1/cloudevents", "application/cloudevents-batch+json; charset=utf-8", `[`+one+`},{"id":"2"}]`)
	require.Equal(t, http.StatusAccepted, r.status, r.body)
	var got answer
	r.into(t, &got)
	require.Equal(t, 1, got.Accepted)
	require.Equal(t, 1, got.Rejected)
}
