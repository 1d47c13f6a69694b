package live

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/shared/httpserver"
)

const description = "A WebSocket with the number and value of the last hour's events, by minute and type, as they are stored.\n\n" +
	"The server sends text messages in JSON: first a `snapshot` of the window, then a `delta` for each update, at most ten a " +
	"second, which holds what to add; `heartbeat` while nothing changes. Each says the `epoch` and the `seq` that it leads to; " +
	"`from` is the first minute of the window: forget those before it, and the sum of the rest is `totals`. A `snapshot` " +
	"replaces all. `stale` means that the numbers are not current until the next `snapshot`, which begins a new epoch.\n\n" +
	"To resume, give the last `epoch` and `seq` as query parameters: what was missed follows and then a `heartbeat`, or, when " +
	"it is no longer known, a `snapshot`.\n\n" +
	"The client may send `{\"type\":\"ping\"}` and gets a `pong`. Connections are closed with 1013 (the client did not keep up; " +
	"reconnect and resume. One that reads nothing at all is cut off without a code), 1001 (the server shuts down; reconnect), " +
	"1008 (the client sent something else, or too much) or 1009 (a frame above 4 KiB).\n\n" +
	"A page may open it from the service's own host and from LIVE_ORIGINS. A read key goes into the Authorization header only."

// Register puts the WebSocket on the mux and describes it in the document. h may be
// nil when only the document is wanted.
func Register(api httpserver.API, keys access.Keys, h *Hub) {
	api.Mux.Handle("GET /v1/live", keys.Handler(h))

	schemas := api.OpenAPI().Components.Schemas
	problem := func(text string) *huma.Response {
		return &huma.Response{Description: text, Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, "")}}}
	}
	api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "subscribe-live", Method: http.MethodGet, Path: "/v1/live", Tags: []string{"Live"},
		Summary: "Numbers as they happen (WebSocket)", Description: description, Security: access.Required(),
		Parameters: []*huma.Param{
			{Name: "epoch", In: "query", Description: "The epoch of the last message received; with seq", Example: "b3f0c9d25a417e68", Schema: &huma.Schema{Type: huma.TypeString, Pattern: epochForm.String()}},
			{Name: "seq", In: "query", Description: "The seq of the last message received; with epoch", Example: 17, Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: new(float64)}},
		},
		Responses: map[string]*huma.Response{
			"101": {Description: "The connection is a WebSocket from here; this is the form of its messages", Content: map[string]*huma.MediaType{
				"application/json": {Schema: schemas.Schema(reflect.TypeFor[Message](), true, "LiveMessage")}}},
			"400": problem("Not a proper handshake"),
			"401": problem("No read key"),
			"403": problem("The origin may not connect"),
			"422": problem("A wrong parameter"),
			"426": problem("Not a WebSocket handshake"),
			"503": problem("As many clients as one instance takes; Retry-After says when to come back"),
		},
	})
}
