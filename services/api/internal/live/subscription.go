package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"weir/services/api/internal/filter"
	"weir/services/shared/rollup"
)

// maxEvents bounds the sampled events that a client gets in a second.
const maxEvents = 50

// Subscription is what a client wants to be told.
type Subscription struct {
	Metrics    bool     `json:"metrics" default:"true" doc:"Counts by minute and type: snapshots and deltas"`
	Dimensions []string `json:"dimensions,omitempty" enum:"path,referrer,country,device,browser,os,source" doc:"The most frequent values of these, once a second at most"`
	Events     int      `json:"events,omitempty" minimum:"0" maximum:"50" doc:"Up to so many sampled events a second"`
	Filter     string   `json:"filter,omitempty" doc:"Which events are sampled, in the filter language" example:"type is \"purchase\" and value >= 100"`

	dimensions dimensions
	expr       filter.Expr
}

// dimensions is a set: bit d is for dimension d.
type dimensions uint16

func (s dimensions) has(d rollup.Dimension) bool { return s&(1<<d) != 0 }

// check reads what is in words. The error says which part is wrong.
func (s *Subscription) check() error {
	for _, name := range s.Dimensions {
		d, ok := rollup.ParseDimension(name)
		if !ok || d == rollup.All {
			return errors.New("dimensions: there are " + strings.Join(rollup.Fields(), ", "))
		}
		s.dimensions |= 1 << d
	}
	slices.Sort(s.Dimensions)
	s.Dimensions = slices.Compact(s.Dimensions)
	if s.Events < 0 || s.Events > maxEvents {
		return fmt.Errorf("events: must be 0 to %d, the most sampled events in a second", maxEvents)
	}
	var err error
	if s.expr, err = filter.Parse(s.Filter); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	if s.Filter != "" && s.Events == 0 {
		return errors.New("filter: is for sampled events; say how many a second with events")
	}
	return nil
}

// parseSubscription reads the parameters of a connection.
func parseSubscription(q url.Values) (s Subscription, err error) {
	s = Subscription{Metrics: true, Filter: q.Get("filter")}
	if text := q.Get("metrics"); text != "" {
		if s.Metrics, err = strconv.ParseBool(text); err != nil {
			return s, errors.New("metrics: must be true or false")
		}
	}
	for name := range strings.SplitSeq(q.Get("dimensions"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			s.Dimensions = append(s.Dimensions, name)
		}
	}
	if text := q.Get("events"); text != "" {
		if s.Events, err = strconv.Atoi(text); err != nil {
			return s, fmt.Errorf("events: must be 0 to %d, the most sampled events in a second", maxEvents)
		}
	}
	return s, s.check()
}

// errNonsense is what a client must not say.
var errNonsense = errors.New(`the messages are {"type":"ping"} and {"type":"subscribe", ...}`)

// parseRequest reads what a client says: nil is a ping. errNonsense is not worth
// talking to; any other error says what is wrong with a subscription.
func parseRequest(data []byte) (*Subscription, error) {
	var kind struct{ Type string }
	if json.Unmarshal(data, &kind) != nil {
		return nil, errNonsense
	}
	switch kind.Type {
	case "ping":
		return nil, nil
	case "subscribe":
		request := struct {
			Type string `json:"type"`
			Subscription
		}{Subscription: Subscription{Metrics: true}}
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.DisallowUnknownFields()
		if err := d.Decode(&request); err != nil {
			return nil, fmt.Errorf("subscribe: there are metrics (true or false), dimensions (a list), events (a number) and filter (text): %s",
				strings.TrimPrefix(err.Error(), "json: "))
		}
		s := request.Subscription
		return &s, s.check()
	default:
		return nil, errNonsense
	}
}
