package collector

import (
	"encoding/json"
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
	Properties  map[string]any `json:"properties,omitempty" doc:"Anything else, at most 16 KiB of JSON"`
}

const example = `{"id":"view-1","type":"page_view","time":"2026-01-02T15:04:05Z","anonymous_id":"a-9f3c","path":"/products/1","country":"DE"}`

func requestBody(api huma.API) *huma.RequestBody {
	one := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Event](), true, "Event")
	many := &huma.Schema{Type: huma.TypeArray, Items: one, MinItems: ptr(1), MaxItems: ptr(MaxEvents)}
	var value any
	if err := json.Unmarshal([]byte(example), &value); err != nil {
		panic(err) // a constant
	}
	return &huma.RequestBody{
		Required:    true,
		Description: "At most 10 MiB; an event at most 64 KiB.",
		Content: map[string]*huma.MediaType{
			typeJSON:   {Schema: &huma.Schema{OneOf: []*huma.Schema{one, many}}, Example: value},
			typeNDJSON: {Schema: &huma.Schema{Type: huma.TypeString, Description: "One event a line"}, Example: example + "\n"},
		},
	}
}

func ptr(n int) *int { return &n }
