package explorer

import (
	"encoding/json"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"weir/services/shared/event"
)

// Event is a stored event, its fields named as in the event that was sent.
type Event struct {
	ID          string    `json:"id" format:"uuid" example:"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f"`
	Type        string    `json:"type" example:"page_view"`
	Time        time.Time `json:"time" example:"2026-01-02T15:04:05.123Z"`
	Source      string    `json:"source" example:"web"`
	UserID      string    `json:"user_id,omitempty" example:"u-17"`
	AnonymousID string    `json:"anonymous_id,omitempty" example:"a-81723"`
	SessionID   string    `json:"session_id,omitempty" example:"s-52"`
	Path        string    `json:"path,omitempty" example:"/pricing"`
	Referrer    string    `json:"referrer,omitempty" example:"https://www.example.com/"`
	Country     string    `json:"country,omitempty" example:"DE"`
	Device      string    `json:"device,omitempty" example:"mobile"`
	Browser     string    `json:"browser,omitempty" example:"Firefox"`
	OS          string    `json:"os,omitempty" example:"Android"`
	Value       number    `json:"value,omitempty"`
	Currency    string    `json:"currency,omitempty" example:"EUR"`
	Properties  object    `json:"properties,omitempty"`
}

// number is a stored decimal as a JSON number, digit by digit.
type number string

func (n number) MarshalJSON() ([]byte, error) { return []byte(n), nil }

func (number) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeNumber, Format: "double", Description: "Exact decimal with up to 6 places", Examples: []any{129.95}}
}

// object is a JSON object as it is stored.
type object string

func (o object) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }

func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Examples: []any{map[string]any{"plan": "team"}}}
}

// columns are what scan reads, in its order.
const columns = `id, type, time, source,
       coalesce(user_id, ''), coalesce(anonymous_id, ''), coalesce(session_id, ''),
       coalesce(path, ''), coalesce(referrer, ''), coalesce(country, ''),
       coalesce(device, ''), coalesce(browser, ''), coalesce(os, ''),
       coalesce(trim_scale(value)::text, ''), coalesce(currency, ''), coalesce(properties::text, '')`

func scan(r pgx.CollectableRow) (item Event, err error) {
	var id event.UUID
	err = r.Scan((*[16]byte)(&id), &item.Type, &item.Time, &item.Source,
		&item.UserID, &item.AnonymousID, &item.SessionID,
		&item.Path, &item.Referrer, &item.Country, &item.Device, &item.Browser, &item.OS,
		(*string)(&item.Value), &item.Currency, (*string)(&item.Properties))
	item.ID, item.Time = id.String(), item.Time.UTC()
	return item, err
}

// position is where the item stands in the order.
func (i *Event) position() position {
	id, _ := event.ParseUUID(i.ID)
	return position{i.Time, id}
}
