package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"weir/services/ingestion/internal/generator"
	"weir/services/shared/retry"
)

// Collector posts events to a running collector, as a client would: it waits when it
// is told to, and sends again with the same ids what it is not sure about.
type Collector struct {
	url, key string
	client   *http.Client
	patience time.Duration

	Accepted, Rejected atomic.Int64 // events, as the collector says
	Waits              atomic.Int64 // answers that told to come again later
}

const (
	// attemptTimeout bounds one request.
	attemptTimeout = 30 * time.Second
	// patience is how long a collector may be out of reach.
	patience = 30 * time.Second
	// longestWait is obeyed of a Retry-After.
	longestWait = 5 * time.Minute
)

// NewCollector returns a target for the collector at an address, such as
// http://localhost:3002. The write key may be empty.
func NewCollector(address, key string, connections int) (*Collector, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("must look like http://host:port")
	}
	return &Collector{
		url: strings.TrimSuffix(u.String(), "/") + "/v1/events", key: key, patience: patience,
		client: &http.Client{Timeout: attemptTimeout, Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections,
		}},
	}, nil
}

// Close closes the idle connections.
func (c *Collector) Close() error {
	c.client.CloseIdleConnections()
	return nil
}

// Send posts a batch until the collector has taken it. It returns an error when the
// collector refuses it for good, or cannot be reached for half a minute.
func (c *Collector) Send(ctx context.Context, b *generator.Batch) (taken bool, err error) {
	body := make([]byte, 0, len(b.Bytes)+b.Len())
	for i := range b.Len() {
		body = append(append(body, b.Payload(i)...), '\n')
	}
	unreachable, backoff := time.Time{}, retry.Backoff()
	for {
		// What has begun may finish when the run ends.
		wait, err := c.post(context.WithoutCancel(ctx), body, b.Len())
		switch {
		case err == nil && wait == 0:
			return true, nil
		case err == nil:
			c.Waits.Add(1)
			unreachable = time.Time{}
		case !temporary(err):
			return false, err
		case unreachable.IsZero():
			unreachable, backoff = time.Now(), retry.Backoff()
			wait = backoff.NextBackOff()
		case time.Since(unreachable) > c.patience:
			return false, err
		default:
			wait = backoff.NextBackOff()
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// post makes one attempt. A wait is what the collector asks for.
func (c *Collector) post(ctx context.Context, body []byte, n int) (wait time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("post events: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	if c.key != "" {
		request.Header.Set("X-Write-Key", c.key)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return 0, unreachableError{err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return 0, unreachableError{err}
	}
	switch response.StatusCode {
	case http.StatusAccepted:
		var answer struct{ Accepted, Rejected int64 }
		if err := json.Unmarshal(text, &answer); err != nil {
			return 0, fmt.Errorf("read the collector's answer: %w", err)
		}
		c.Accepted.Add(answer.Accepted)
		c.Rejected.Add(answer.Rejected)
		return 0, nil
	case http.StatusUnprocessableEntity: // every one of them is bad
		c.Rejected.Add(int64(n))
		return 0, nil
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return retryAfter(response.Header.Get("Retry-After")), nil
	default:
		var problem struct{ Detail string }
		_ = json.Unmarshal(text, &problem) // a proxy's answer may be anything
		return 0, fmt.Errorf("the collector at %s answered %s: %s", c.url, response.Status, problem.Detail)
	}
}

// retryAfter reads the header, which is in seconds or a date.
func retryAfter(text string) time.Duration {
	wait := time.Second
	if seconds, err := strconv.Atoi(text); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 100*time.Millisecond), longestWait)
}

type unreachableError struct{ error }

func (u unreachableError) Error() string {
	return "the collector cannot be reached: " + u.error.Error()
}

func (u unreachableError) Unwrap() error { return u.error }

func temporary(err error) bool {
	var u unreachableError
	return errors.As(err, &u)
}
