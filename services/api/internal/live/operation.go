package live

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/shared/httpserver"
	"weir/services/shared/rollup"
)

const messages = "The messages are JSON: first a `snapshot` of the last hour's events, their number and value by minute and type; then a " +
	"`delta` for each update, at most ten a second, which holds what to add; `heartbeat` while nothing changes. Each says the " +
	"`epoch` and the `seq` that it leads to; `from` is the first minute of the window: forget those before it, and the sum of the " +
	"rest is `totals`. A `snapshot` replaces all. `stale` means that the numbers are not current until the next `snapshot`, which " +
	"begins a new epoch.\n\n" +
	"The parameters say what else is wanted, or that metrics are not: `dimensions`, and for each of them `top` messages with its " +
	"ten most frequent values over the window, whenever they changed, once a second at most; `events`, up to so many a second " +
	"that match `filter`, from a sample of what was just stored (up to 20 events of a batch, none above 4 KiB). Without metrics a " +
	"`heartbeat` stands for the `snapshot`.\n\n" +
	"To resume, say the last `epoch` and `seq`: what was missed of the metrics follows and then a `heartbeat`, or, when it is no " +
	"longer known, a `snapshot`.\n\n"

const socketDescription = "A WebSocket. " + messages +
	"The client may send `{\"type\":\"ping\"}` and gets a `pong`, and `{\"type\":\"subscribe\", \"metrics\": true, \"dimensions\": [\"path\"], " +
	"\"events\": 5, \"filter\": \"value > 100\"}`, which replaces what it wanted so far; what it leaves out is as if it never was " +
	"asked for, and metrics are on. The answer is `subscribed`, or an `error` that changes nothing.\n\n" +
	"Connections are closed with 1013 (the client did not keep up; reconnect and resume. One that reads nothing at all is cut off " +
	"without a code), 1001 (the server shuts down; reconnect), 3003 (the key was withdrawn, or that of the ticket), 1008 (the client sent something else, or more than 20 messages in a " +
	"second, pings included) or 1009 (a frame above 8 KiB).\n\n" + entrance

const streamDescription = "Server-sent events, with the messages of the WebSocket as `data`. The `id` is `epoch:seq`, so that a browser's EventSource " +
	"resumes by itself. " + messages + entrance

const entrance = "A page may open it from the service's own host and from LIVE_ORIGINS. A read key goes into the Authorization header; where " +
	"that cannot be set, as in browsers, a `ticket` of `POST /v1/live/tickets` takes its place."

const snapshotExample = `{"type": "snapshot", "epoch": "b3f0c9d25a417e68", "seq": 17, "as_of": "2026-01-02T15:04:05Z", "from": "2026-01-02T14:05:00Z",
	"minutes": [{"minute": "2026-01-02T15:04:00Z", "type": "purchase", "events": 1, "value": 49.95}], "totals": {"events": 1, "value": 49.95}}`

// Register puts the live feed on the mux and describes it in the document. h may be
// nil when only the document is wanted.
func Register(api httpserver.API, keys access.Keys, h *Hub) {
	api.Mux.Handle("GET /v1/live", keys.Handler(h.ServeSocket))
	api.Mux.Handle("GET /v1/live/events", keys.Handler(h.ServeEvents))

	schemas := api.OpenAPI().Components.Schemas
	message := schemas.Schema(reflect.TypeFor[Message](), true, "LiveMessage")
	problem := func(text string) *huma.Response {
		return &huma.Response{Description: text, Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, "")}}}
	}
	responses := map[string]*huma.Response{
		"401": problem("No read key, and no ticket"),
		"403": problem("A key that is not known, or the origin may not connect"),
		"422": problem("A wrong parameter"),
		"503": problem("As many clients as one instance takes; Retry-After says when to come back"),
	}
	longest := filter.MaxSize
	text := func(name, description, example string, bound huma.Schema) *huma.Param {
		bound.Type = huma.TypeString
		return &huma.Param{Name: name, In: "query", Description: description, Example: example, Schema: &bound}
	}
	most := float64(maxEvents)
	parameters := []*huma.Param{
		{Name: "metrics", In: "query", Description: "Whether counts by minute and type are wanted", Schema: &huma.Schema{Type: huma.TypeBoolean, Default: true}},
		text("dimensions", "The dimensions whose most frequent values are wanted, separated by commas: "+strings.Join(rollup.Fields(), ", "), "path,country", huma.Schema{Pattern: "^[a-z, ]*$"}),
		{Name: "events", In: "query", Description: "How many sampled events a second are wanted at most", Example: 5, Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int32", Minimum: new(float64), Maximum: &most}},
		text("filter", "Which events are sampled, in the filter language; with events", `type is "purchase" and value >= 100`, huma.Schema{MaxLength: &longest}),
		{Name: "epoch", In: "query", Description: "The epoch of the last message received; with seq", Example: "b3f0c9d25a417e68", Schema: &huma.Schema{Type: huma.TypeString, Pattern: epochForm.String()}},
		{Name: "seq", In: "query", Description: "The seq of the last message received; with epoch", Example: 17, Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: new(float64)}},
		text("ticket", "A ticket, in the place of a read key", "XGMVYUQ4RP5DJ2ZTC7KWE3NHAB", huma.Schema{Pattern: "^[A-Z2-7]+$"}),
	}

	socket := maps.Clone(responses)
	socket["101"] = &huma.Response{Description: "The connection is a WebSocket from here; this is the form of its messages",
		Content: map[string]*huma.MediaType{"application/json": {Schema: message, Example: json.RawMessage(snapshotExample)}}}
	socket["400"] = problem("Not a proper handshake")
	socket["426"] = problem("Not a WebSocket handshake")
	api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "subscribe-live", Method: http.MethodGet, Path: "/v1/live", Tags: []string{"Live"},
		Summary: "Numbers as they happen (WebSocket)", Description: socketDescription, Security: access.RequiredOrTicket(),
		Parameters: parameters, Responses: socket,
	})

	stream := maps.Clone(responses)
	stream["200"] = &huma.Response{Description: "The messages; this is the form of their data",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: message, Example: json.RawMessage(snapshotExample)}}}
	api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "stream-live", Method: http.MethodGet, Path: "/v1/live/events", Tags: []string{"Live"},
		Summary: "Numbers as they happen (server-sent events)", Description: streamDescription, Security: access.RequiredOrTicket(),
		Parameters: append([]*huma.Param{{Name: "Last-Event-ID", In: "header", Description: "The id of the last message received; EventSource says it by itself", Example: "b3f0c9d25a417e68:17", Schema: &huma.Schema{Type: huma.TypeString}}}, parameters...),
		Responses:  stream,
	})
}
