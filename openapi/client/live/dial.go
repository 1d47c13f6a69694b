package live

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// maxMessage is in bytes. A snapshot has some 100 for each type of events in each of sixty
// minutes: the generator's twelve types make 70 KB.
const maxMessage = 64 << 20

// Refused is the answer of a server that did not open the feed.
type Refused struct {
	Status     int           // of HTTP
	Detail     string        // why, in the server's words
	RetryAfter time.Duration // what it asked to wait, if it did
}

// Error implements error.
func (r *Refused) Error() string {
	text := fmt.Sprintf("the live feed was refused: %d %s", r.Status, http.StatusText(r.Status))
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return text
}

// temporary reports whether the same request may be let in another time.
func (r *Refused) temporary() bool {
	return r.Status >= 500 || r.Status == http.StatusTooManyRequests || r.Status == http.StatusRequestTimeout
}

// dial opens the feed where it was left. The error may be a *Refused.
func (c *Client) dial(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Silence)
	defer cancel()
	q, header := c.query(), http.Header{}
	if c.options.Key != "" {
		header.Set("Authorization", "Bearer "+c.options.Key)
	}
	if c.options.Ticket != nil {
		ticket, err := c.options.Ticket(ctx)
		if err != nil {
			return nil, fmt.Errorf("get a ticket for the live feed: %w", err)
		}
		q.Set("ticket", ticket)
	}
	address := strings.TrimSuffix(c.url, "/") + "/v1/live?" + q.Encode()
	conn, response, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: c.options.HTTP, HTTPHeader: header}) //nolint:bodyclose // Dial has closed it
	switch {
	case err == nil:
		conn.SetReadLimit(maxMessage)
		return conn, nil
	case response != nil && response.StatusCode >= http.StatusBadRequest:
		return nil, refusal(response)
	default:
		return nil, fmt.Errorf("open the live feed: %w", err)
	}
}

// query says what is wanted, and where the client left off.
func (c *Client) query() url.Values {
	q := url.Values{"metrics": {strconv.FormatBool(c.want.Metrics)}}
	if len(c.want.Dimensions) > 0 {
		q.Set("dimensions", strings.Join(c.want.Dimensions, ","))
	}
	if c.want.Events > 0 {
		q.Set("events", strconv.Itoa(c.want.Events))
	}
	if c.want.Filter != "" {
		q.Set("filter", c.want.Filter)
	}
	if c.want.Metrics && c.place.Epoch != "" {
		q.Set("epoch", c.place.Epoch)
		q.Set("seq", strconv.FormatUint(c.place.Seq, 10))
	}
	return q
}

// refusal reads a problem document. What is no such document has no detail.
func refusal(response *http.Response) *Refused {
	var problem struct {
		Detail string `json:"detail"`
	}
	_ = json.NewDecoder(response.Body).Decode(&problem)
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	return &Refused{response.StatusCode, problem.Detail, time.Duration(seconds) * time.Second}
}
