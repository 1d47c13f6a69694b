package collector

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/ingestion/internal/gate"
	"weir/services/ingestion/internal/key"
	"weir/services/shared/event"
)

// unknown is the answer to a request without a sender: 401 when it brings no key, 403
// when the key is wrong, which another attempt with it would not change.
func unknown(cause error) error {
	detail := "Nothing was taken: " + cause.Error() + "."
	if errors.Is(cause, key.ErrMissing) {
		return huma.ErrorWithHeaders(huma.Error401Unauthorized(detail), http.Header{"Www-Authenticate": {`Bearer realm="weir"`, `Basic realm="weir"`}})
	}
	return huma.Error403Forbidden(detail)
}

// TooMany is the answer to a request with more than MaxEvents.
func TooMany() error {
	return huma.NewError(http.StatusRequestEntityTooLarge, "The batch has too many events: send at most "+strconv.Itoa(MaxEvents)+" at once.")
}

// maxDetails bounds a problem document: nobody reads more.
const maxDetails = 100

// Refused is the answer when no event is any good: 400 for one that could not be read,
// 422 for those that break rules.
func Refused(results []Result) error {
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
	if len(results) == 1 && results[0].Errors.Has("") {
		return huma.Error400BadRequest("The body is not an event: it "+results[0].Errors[0].Rule+".", details...)
	}
	return huma.Error422UnprocessableEntity("No event was accepted: each breaks a rule that errors lists.", details...)
}

// Unconfirmed is the problem of a request that the stream did not confirm: some of its
// events may be in it. The results let a client send them again and have none twice,
// even those that came without an id.
type Unconfirmed struct {
	huma.ErrorModel
	Results []Result `json:"results,omitempty" nullable:"false" doc:"What became of each event; absent when none was tried"`
}

// unavailable is the answer when nothing can be accepted for now; b is what was on its
// way.
func unavailable(cause error, b *batch) error {
	why, wait := "The stream is not available", "1"
	if refused, ok := gate.IsRefused(cause); ok {
		why, wait = refused.Error(), strconv.Itoa(int(refused.After.Seconds()))
	}
	header := http.Header{"Retry-After": {wait}}
	if b == nil {
		return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(why+", so nothing can be accepted now. "+
			"Send the same events again after the seconds in Retry-After."), header)
	}
	return huma.ErrorWithHeaders(&Unconfirmed{
		ErrorModel: huma.ErrorModel{
			Status: http.StatusServiceUnavailable, Title: http.StatusText(http.StatusServiceUnavailable),
			Detail: why + ", so nothing can be accepted now. Send the same events again after the seconds in Retry-After, with the ids and times in results: none will be stored twice.",
		},
		Results: b.unconfirmed(),
	}, header)
}

// unconfirmed returns the results of a batch of which nobody knows what arrived.
func (b *batch) unconfirmed() []Result {
	next := 0
	for i := range b.results {
		if r := &b.results[i]; r.Status == accepted {
			var e event.Event
			_ = e.Parse(b.messages[next].Payload) // which we wrote
			r.Status, r.Time = unconfirmed, &e.Time
			next++
		}
	}
	return b.results
}
