package collector

import (
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Event documents an event for the OpenAPI document; package event parses it.
type Event struct {
	ID          string         `json:"id,omitempty" maxLength:"256" doc:"Idempotency key: a UUID, or any string of the client's, from which one is made. Needs time" example:"order-1001"`
	Type        string         `json:"type" pattern:"^[a-z][a-z0-9_.]{0,63}$" doc:"What happened: page_view, click, search, signup, login, add_to_cart, purchase, error, ..." example:"page_view"`
	Time        *time.Time     `json:"time,omitempty" doc:"When it happened, RFC 3339; the time of arrival when left out" example:"2026-01-02T15:04:05.123Z"`
	Source      string         `json:"source,omitempty" maxLength:"64" doc:"Which application or site; a write key decides it" example:"web-shop"`
	UserID      string         `json:"user_id,omitempty" maxLength:"256" doc:"The user; this or anonymous_id is required" example:"u-17"`
	AnonymousID string         `json:"anonymous_id,omitempty" maxLength:"256" doc:"The visitor, while not known by name" example:"a-9f3c"`
	SessionID   string         `json:"session_id,omitempty" maxLength:"256" example:"s-52"`
	Path        string         `json:"path,omitempty" maxLength:"2048" example:"/products/1"`
	Referrer    string         `json:"referrer,omitempty" maxLength:"2048" example:"https://www.example.com/"`
	Country     string         `json:"country,omitempty" pattern:"^[A-Z]{2}$" doc:"ISO 3166-1 alpha-2" example:"DE"`
	Device      string         `json:"device,omitempty" maxLength:"64" example:"mobile"`
	Browser     string         `json:"browser,omitempty" maxLength:"64" example:"Firefox"`
	OS          string         `json:"os,omitempty" maxLength:"64" example:"Android"`
	Value       *float64       `json:"value,omitempty" doc:"Revenue or another amount, below 1e12; kept to 6 decimal places" example:"49.95"`
	Currency    string         `json:"currency,omitempty" pattern:"^[A-Z]{3}$" doc:"ISO 4217" example:"EUR"`
	Properties  map[string]any `json:"properties,omitempty" doc:"Anything else, at most 16 KiB of JSON" example:"{\"plan\":\"team\"}"`
}

const example = `{"id":"view-1","type":"page_view","time":"2026-01-02T15:04:05Z","anonymous_id":"a-9f3c","path":"/products/1","country":"DE"}`

// Errors are the statuses that any entrance may answer with.
var Errors = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
	http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable}

// Document describes the body that an operation takes, and the write key. It comes after the operation's
// registration: of a body that it knew, Huma would read the bytes itself, before the
// sender is known and without decoding them.
func Document(api huma.API, path string, body *huma.RequestBody) {
	body.Required = true
	operation := api.OpenAPI().Paths[path].Post
	operation.RequestBody = body
	operation.Security = writeKey(api.OpenAPI())
	problem := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Unconfirmed](), true, "Unconfirmed")
	operation.Responses["503"].Content = map[string]*huma.MediaType{"application/problem+json": {Schema: problem}}
}

// writeKey describes the ways to bring a write key, of which one will do.
func writeKey(document *huma.OpenAPI) (ways []map[string][]string) {
	if document.Components.SecuritySchemes == nil {
		document.Components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	const what = "One of INGESTION_WRITE_KEYS. Without any, in development, it is the name of the events' source, and may be left out."
	for _, s := range []struct {
		name   string
		scheme huma.SecurityScheme
	}{
		{"writeKey", huma.SecurityScheme{Type: "http", Scheme: "bearer", Description: what}},
		{"writeKeyBasic", huma.SecurityScheme{Type: "http", Scheme: "basic", Description: "The write key as the user name, as Segment's SDKs send it."}},
		{"writeKeyHeader", huma.SecurityScheme{Type: "apiKey", In: "header", Name: "X-Write-Key", Description: "The write key, where Authorization cannot be set."}},
		{"writeKeyQuery", huma.SecurityScheme{Type: "apiKey", In: "query", Name: "write_key", Description: "The write key, where no header can be set."}},
	} {
		document.Components.SecuritySchemes[s.name] = &s.scheme
		ways = append(ways, map[string][]string{s.name: {}})
	}
	return append(ways, map[string][]string{}) // none, in development
}

func eventsBody(api huma.API) *huma.RequestBody {
	one := Schema(api)
	many := &huma.Schema{Type: huma.TypeArray, Items: one, MinItems: ptr(1), MaxItems: ptr(MaxEvents)}
	var value any
	if err := json.Unmarshal([]byte(example), &value); err != nil {
		panic(err) // a constant
	}
	lines := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Description: "One event a line"}, Example: example + "\n"}
	oneOrMany := &huma.MediaType{Schema: &huma.Schema{OneOf: []*huma.Schema{one, many}}, Example: value}
	return &huma.RequestBody{
		Description: "At most 10 MiB, compressed or not; an event at most 64 KiB.",
		Content: map[string]*huma.MediaType{
			typeJSON:   oneOrMany,
			typeNDJSON: lines, "application/ndjson": lines, "application/jsonl": lines, // it has no registered name
			typeText: {Schema: &huma.Schema{Type: huma.TypeString, Description: "One event or an array, as JSON: what navigator.sendBeacon sends"}, Example: example},
		},
	}
}

// Schema is the schema of an event.
func Schema(api huma.API) *huma.Schema {
	return api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Event](), true, "Event")
}

func ptr(n int) *int { return &n }
