// Package collector takes events over HTTP.
package collector

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"weir/services/ingestion/internal/gate"
	"weir/services/ingestion/internal/key"
	"weir/services/ingestion/internal/publish"
	"weir/services/shared/event"
)

// Result tells what became of one event of a request.
type Result struct {
	Index  int           `json:"index" doc:"Position in the request, from 0" example:"0"`
	ID     string        `json:"id,omitempty" format:"uuid" doc:"The id that the event is stored with; absent when it could not be read" example:"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f"`
	Status string        `json:"status" enum:"accepted,rejected" doc:"accepted: it is in the stream and will be stored once. rejected: it breaks the rules in errors"`
	Errors event.Invalid `json:"errors,omitempty" nullable:"false" doc:"Every rule that a rejected event breaks"`
}

// Answer is the outcome of a request.
type Answer struct {
	Accepted int      `json:"accepted" doc:"Events accepted" example:"1"`
	Rejected int      `json:"rejected" doc:"Events rejected" example:"0"`
	Results  []Result `json:"results" nullable:"false" doc:"One result for each event, in the request's order"`
}

type postInput struct {
	ContentType   string `header:"Content-Type" hidden:"true"`
	Encoding      string `header:"Content-Encoding" hidden:"true"`
	Authorization string `header:"Authorization" doc:"The write key, as a Bearer token or as the user name of Basic authentication" example:"Bearer web-shop"`
	WriteKey      string `header:"X-Write-Key" doc:"The write key, where Authorization cannot be set" example:"web-shop"`
	RawBody       []byte
}

type postOutput struct {
	Status int
	Body   Answer
}

// Collector publishes the events that clients send.
type Collector struct {
	Keys       key.Keys
	Publisher  *publish.Publisher
	Partitions int

	events *prometheus.CounterVec
}

// publishTimeout bounds how long a request waits for Redis.
const publishTimeout = 5 * time.Second

// Register adds the operations to the API and the metrics to the registry.
func (c *Collector) Register(api huma.API, registry prometheus.Registerer) {
	c.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_ingestion_received_events_total", Help: "Events received over HTTP, by outcome: accepted, rejected or failed.",
	}, []string{"outcome"})
	registry.MustRegister(c.events)

	huma.Register(api, huma.Operation{
		OperationID: "post-events", Method: http.MethodPost, Path: "/v1/events", Tags: []string{"Events"},
		Summary: "Send events",
		Description: "Takes one event, an array of events, or NDJSON (one event a line). Answers 202 once the accepted events are in the stream, with a result for each event; " +
			"bad events do not hold up good ones. When every event is bad the answer is 422, with all their errors.\n\n" +
			"`id` makes sending again safe: the same id and time is stored once, however often it arrives. Any string will do; one that is not a UUID is turned into one, always the same. " +
			"Without an id the event gets a new one, and the time of arrival unless it has a time.",
		DefaultStatus:   http.StatusAccepted,
		MaxBodyBytes:    MaxBody,
		BodyReadTimeout: 30 * time.Second,
		RequestBody:     requestBody(api),
		// Package event validates: each event gets its own result.
		SkipValidateBody: true,
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}, c.post)
}

func (c *Collector) post(ctx context.Context, in *postInput) (*postOutput, error) {
	source, err := c.Keys.Source(in.Authorization, in.WriteKey)
	if err != nil {
		return nil, huma.ErrorWithHeaders(huma.Error401Unauthorized(err.Error()), http.Header{"WWW-Authenticate": {`Bearer realm="weir"`}})
	}
	if in.Encoding != "" && in.Encoding != "identity" {
		return nil, huma.Error415UnsupportedMediaType("The body is encoded as " + strconv.Quote(in.Encoding) + ", which is not taken: send it as it is, without Content-Encoding.")
	}
	if err := c.Publisher.Ready(); err != nil {
		return nil, unavailable(err)
	}
	payloads, err := split(in.ContentType, string(in.RawBody))
	if err != nil {
		return nil, err
	}
	b := take(payloads, source, c.Partitions, time.Now())
	c.events.WithLabelValues("rejected").Add(float64(len(payloads) - b.accepted))
	if b.accepted == 0 {
		return nil, refused(b.results)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if err := c.Publisher.Publish(ctx, b.messages); err != nil {
		c.events.WithLabelValues("failed").Add(float64(b.accepted))
		return nil, unavailable(err)
	}
	c.events.WithLabelValues("accepted").Add(float64(b.accepted))
	return &postOutput{http.StatusAccepted, Answer{b.accepted, len(payloads) - b.accepted, b.results}}, nil
}

// refused is the answer when no event is any good: 400 for one that is not JSON,
// 422 for those that break rules.
func refused(results []Result) error {
	var details []error
	for _, r := range results {
		for _, f := range r.Errors {
			location := "body"
			if len(results) > 1 {
				location += "[" + strconv.Itoa(r.Index) + "]"
			}
			if f.Field != "" {
				location += "." + f.Field
			}
			if len(details) < maxDetails {
				details = append(details, &huma.ErrorDetail{Location: location, Message: f.String()})
			}
		}
	}
	if len(results) == 1 && results[0].Errors[0].Field == "" {
		return huma.Error400BadRequest("The body is not an event: it "+results[0].Errors[0].Rule+".", details...)
	}
	return huma.Error422UnprocessableEntity("No event was accepted: each breaks a rule that errors lists.", details...)
}

// maxDetails bounds a problem document: nobody reads more.
const maxDetails = 100

// unavailable is the answer when nothing can be accepted for now. A refusal is the
// gate's to count and to log, once; any other cause is this request's.
func unavailable(cause error) error {
	why, wait := "The stream is not available", "1"
	causes := []error{cause}
	if refused, ok := gate.IsRefused(cause); ok {
		why, wait, causes = refused.Error(), strconv.Itoa(int(refused.After.Seconds())), nil
	}
	return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(why+", so nothing can be accepted now. "+
		"Send the same events with the same ids again after the seconds in Retry-After: none will be stored twice.", causes...),
		http.Header{"Retry-After": {wait}})
}
