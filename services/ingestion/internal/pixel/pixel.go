// Package pixel takes events from pages and mails that can only load an image.
package pixel

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/ingestion/internal/agent"
	"weir/services/ingestion/internal/collector"
	"weir/services/ingestion/internal/dimension"
	"weir/services/ingestion/internal/object"
	"weir/services/shared/event"
	"weir/services/shared/httpserver"
)

const path = "/v1/pixel.gif"

// gif is the smallest image that every browser shows: one transparent pixel.
const gif = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;"

// Register adds the image to the API. It is no operation of Huma's, because whatever is
// wrong its answer is the image: a page does not show that it is counted.
func Register(api httpserver.API, c *collector.Collector) {
	c.Open(path)
	visitors := newVisitors()
	entrance := collector.Entrance{Decode: func(r *collector.Request, _ string) (collector.Events, error) {
		return decode(r, visitors)
	}}
	api.Mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method == http.MethodGet { // and not HEAD, which shows it to nobody
			h.Set("Weir-Result", outcome(c.Collect(r.Context(), collector.NewRequest(w, r), entrance)))
		}
		h.Set("Content-Type", "image/gif")
		h.Set("Cache-Control", "no-store")                    // each view is a request
		h.Set("Cross-Origin-Resource-Policy", "cross-origin") // any page may show it
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write([]byte(gif))
	})
	document(api)
}

// outcome tells, for whoever looks for the reason why nothing is counted.
func outcome(out *collector.Outcome, err error) string {
	switch {
	case err != nil:
		return "rejected: " + oneLine(err.Error())
	case out.Accepted == 0:
		return "rejected: " + oneLine(out.Results[0].Errors.Error())
	}
	return "accepted: " + out.Results[0].ID
}

// oneLine makes a text fit for a header: printable ASCII.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// fields are the parameters that are fields of the event. Any other is a property.
var fields = []string{"id", "type", "time", "user_id", "anonymous_id", "session_id", "path", "referrer", "country", "device", "browser", "os", "value", "currency", "properties"}

// decode makes an event of a query.
func decode(r *collector.Request, visitors *visitors) (collector.Events, error) {
	query, err := url.ParseQuery(r.RawQuery())
	if decoded, _ := url.QueryUnescape(r.RawQuery()); err != nil || !utf8.ValidString(decoded) {
		return collector.Events{}, huma.Error400BadRequest("The query must be UTF-8, encoded as queries are.")
	}
	var w object.Writer
	properties := object.Fields{}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range query[name] {
			switch {
			case name == "write_key" || value == "":
			case !slices.Contains(fields, name):
				properties[name] = event.AppendString(nil, value)
			case (name == "value" || name == "properties") && json.Valid([]byte(value)):
				w.Raw(name, value)
			default:
				w.Text(name, value)
			}
		}
	}
	if !query.Has("properties") && len(properties) > 0 {
		w.Raw("properties", properties.JSON())
	}
	if !query.Has("type") {
		w.Text("type", "page_view")
	}
	if !query.Has("path") {
		w.Text("path", dimension.URL(dimension.Path(r.Header().Get("Referer")))) // the page that shows the image
	}
	if !query.Has("user_id") && !query.Has("anonymous_id") {
		w.Text("anonymous_id", visitors.of(r))
	}
	events := collector.Events{Agent: agent.Parse(r.Header().Get("User-Agent"))}
	events.Add(w.String(), nil)
	return events, nil
}

// busy is the answer of the guard, which stands before the image too.
func busy(api httpserver.API) *huma.Response {
	problem := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, "")
	return &huma.Response{Description: "Too many requests are under way", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problem}}}
}

func document(api httpserver.API) {
	parameter := func(name, doc, example string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Example: example, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "get-pixel", Method: http.MethodGet, Path: path, Tags: []string{"Events"},
		Summary: "Send an event by loading an image",
		Description: "For pages without scripts, and mails. Any field of an event may be a parameter, and any other parameter is a property. " +
			"Left out, the type is `page_view`, the path is that of the page that shows the image, device, browser and os are the User-Agent's, " +
			"and the visitor is told from others by address and browser, for a day at most: neither is kept.\n\n" +
			"The answer is always the image; the header `Weir-Result` says whether the event was taken, and if not, why.",
		Parameters: []*huma.Param{
			parameter("write_key", "The write key", "web-shop"),
			parameter("type", "What happened; page_view when left out", "page_view"),
			parameter("user_id", "The user", "u-17"),
			parameter("anonymous_id", "The visitor", "a-9f3c"),
			parameter("path", "The page; by default the one that shows the image", "/products/1"),
		},
		SkipValidateParams: true, // unknown ones are properties
		Responses: map[string]*huma.Response{"503": busy(api), "200": {
			Description: "A transparent image of 1 by 1 pixel",
			Headers: map[string]*huma.Param{
				"Weir-Result":   {Description: "What became of the event", Schema: &huma.Schema{Type: huma.TypeString, Examples: []any{"accepted: 0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f"}}},
				"Cache-Control": {Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"no-store"}}},
			},
			Content: map[string]*huma.MediaType{"image/gif": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
		}},
	})
}
