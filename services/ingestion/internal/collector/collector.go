// Package collector takes events over HTTP. Its Collect is the one way in, for its own
// entrance and for those of the packages segment, cloudevent and pixel.
package collector

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"weir/services/ingestion/internal/body"
	"weir/services/ingestion/internal/key"
	"weir/services/ingestion/internal/publish"
	"weir/services/ingestion/internal/quota"
	"weir/services/shared/access"
	"weir/services/shared/event"
	"weir/services/shared/telemetry"
)

// Result tells what became of one event of a request.
type Result struct {
	Index  int           `json:"index" doc:"Position in the request, from 0" example:"0"`
	ID     string        `json:"id,omitempty" format:"uuid" doc:"The id that the event is stored with; absent when it could not be read" example:"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f"`
	Status string        `json:"status" enum:"accepted,rejected,unconfirmed" doc:"accepted: it is in the stream and will be stored once. rejected: it breaks the rules in errors. unconfirmed, in an answer of 503: the stream did not say; send it again with this id and time"`
	Time   *time.Time    `json:"time,omitempty" doc:"The event's time, for sending it again; only with unconfirmed"`
	Errors event.Invalid `json:"errors,omitempty" nullable:"false" doc:"Every rule that a rejected event breaks; of more than 20, the first and how many more"`
}

// Answer is the outcome of a request.
type Answer struct {
	Accepted int      `json:"accepted" doc:"Events accepted" example:"1"`
	Rejected int      `json:"rejected" doc:"Events rejected" example:"0"`
	Results  []Result `json:"results" nullable:"false" doc:"One result for each event, in the request's order"`
}

// Collector publishes the events that clients send.
type Collector struct {
	Config     Config
	Keys       *access.Ring[key.Keys]
	Publisher  *publish.Publisher
	Partitions int

	entrances map[string]bool // by path
	bodies    *body.Reader
	quota     *quota.Quota
	events    *prometheus.CounterVec
	refusals  *prometheus.CounterVec
}

// publishTimeout bounds how long a request waits for Redis.
const publishTimeout = 5 * time.Second

// Register adds the collector's own entrance to the API and the metrics to the registry.
func (c *Collector) Register(api huma.API, registry prometheus.Registerer) {
	c.entrances = map[string]bool{}
	c.bodies = body.NewReader(c.Config.BodyMemory)
	c.quota = quota.New(c.Config.RateLimit, c.Config.RateBurst)
	c.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_ingestion_received_events_total", Help: "Events received over HTTP, by outcome: accepted, rejected or failed.",
	}, []string{"outcome"})
	c.refusals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_ingestion_refused_requests_total", Help: "Requests that brought no event in, by the status of their answer.",
	}, []string{"status"})
	for _, outcome := range []string{"accepted", "rejected", "failed"} {
		c.events.WithLabelValues(outcome) // from 0 on, so that rates see the first one
	}
	for _, status := range []string{"400", "401", "403", "413", "429", "503"} {
		c.refusals.WithLabelValues(status)
	}
	registry.MustRegister(c.events, c.refusals)
	c.registerEvents(api)
}

// Entrance is one of the ways for events to come in over HTTP.
type Entrance struct {
	MaxBody int64 // bytes, decoded

	// Decode finds the events in a body. Its error is the whole request's fault.
	Decode func(r *Request, body string) (Events, error)

	// KeyInBody lets the body bring the write key when nothing else does.
	KeyInBody bool
}

// Outcome is what became of a request's events: Answer for the client, and where its
// quota stands.
type Outcome struct {
	Answer
	Quota quota.Headers
}

// Collect brings the events of a request in. It returns once the stream has those that
// are good; an outcome without an accepted event is not an error. Every error is a
// problem for the client, and then no event is accepted.
func (c *Collector) Collect(ctx context.Context, r *Request, e Entrance) (*Outcome, error) {
	out, err := c.collect(ctx, r, e)
	var problem huma.StatusError
	if errors.As(err, &problem) {
		if problem.GetStatus() != http.StatusRequestTimeout {
			r.drain(e.MaxBody)
		}
		c.refusals.WithLabelValues(strconv.Itoa(problem.GetStatus())).Inc()
	}
	return out, err
}

func (c *Collector) collect(ctx context.Context, r *Request, e Entrance) (*Outcome, error) {
	// 1. Who sends? Strangers are told before their body is read.
	given := r.key()
	inBody := e.KeyInBody && given == ""
	var sender key.Sender
	var err error
	if !inBody {
		if sender, err = c.Keys.Keys().Find(given); err != nil {
			return nil, unknown(err)
		}
	}
	if err := c.Publisher.Ready(); err != nil {
		return nil, unavailable(err, nil)
	}

	// 2. What?
	text, err := r.read(c.bodies, e.MaxBody, c.Config.BodyTimeout)
	if err != nil {
		return nil, err
	}
	defer text.Release()
	events, err := e.Decode(r, text.String())
	if err != nil {
		return nil, err
	}
	if inBody {
		if sender, err = c.Keys.Keys().Find(events.WriteKey); err != nil {
			return nil, unknown(err)
		}
	}
	if events.Fill != nil {
		events.Fill(&events)
	}

	// 3. Is it too much for the sender's share?
	now := time.Now()
	left, err := c.quota.Take(sender.Key, len(events.Payloads), now)
	if err != nil {
		return nil, err
	}

	// 4. Which of them are good?
	b := take(&events, sender.Source, c.Partitions, now)
	rejected := len(events.Payloads) - b.accepted
	c.events.WithLabelValues("rejected").Add(float64(rejected))
	if b.accepted == 0 {
		return &Outcome{Answer{0, rejected, b.results}, left}, nil
	}

	// 5. Into the stream.
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	ctx, span := telemetry.Child(ctx, "publish", trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "redis"), attribute.Int("messaging.batch.message_count", b.accepted)))
	defer span.End()
	if err := c.Publisher.Publish(ctx, b.messages); err != nil {
		span.SetStatus(codes.Error, err.Error())
		c.events.WithLabelValues("failed").Add(float64(b.accepted))
		return nil, unavailable(err, b)
	}
	c.events.WithLabelValues("accepted").Add(float64(b.accepted))
	return &Outcome{Answer{b.accepted, rejected, b.results}, left}, nil
}
