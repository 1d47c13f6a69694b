package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is a service's, ready to be asked.
type document struct {
	// operations are found as the services find them, by the patterns of an http.ServeMux,
	// which are those of OpenAPI.
	operations *http.ServeMux
}

// operation is one of them.
type operation struct {
	id         string
	parameters []parameter
	body       *body
	answers    map[string]answer // by status
}

type parameter struct {
	name, in string
	required bool
	explode  bool
	schema   described
}

type body struct {
	required bool
	content  content
}

type answer struct {
	headers map[string]described
	content content
}

// content has the schemas of a body, by media type.
type content map[string]described

// described is a schema, and what of it a text's form depends on.
type described struct {
	schema *jsonschema.Schema
	types  []string // of the value; none when any will do
	items  []string // of an array's items
}

// undescribed is what services serve besides: pages, the documents, what is measured, and
// the short names that Segment's SDK for browsers has for its calls.
var undescribed = regexp.MustCompile(`^/($|metrics$|docs(/|$)|openapi|schemas/|assets/|debug/pprof/|v1/[a-z]$)`)

// parse compiles all schemas of a document in JSON.
func parse(text []byte) (*document, error) {
	const name = "openapi.json"
	resource, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(name, resource); err != nil {
		return nil, err
	}
	var raw rawDocument
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	c := &compilation{compiler: compiler, name: name}
	d := &document{operations: http.NewServeMux()}
	for path, item := range raw.Paths {
		for method, o := range item {
			c.at = []string{"paths", path, method}
			d.operations.Handle(strings.ToUpper(method)+" "+path, c.operation(o))
		}
	}
	return d, c.err
}

type (
	rawDocument struct {
		Paths map[string]map[string]rawOperation
	}
	rawOperation struct {
		OperationID string `json:"operationId"`
		Parameters  []struct {
			Name, In string
			Required bool
			Explode  *bool
			Schema   rawSchema
		}
		RequestBody *struct {
			Required bool
			Content  map[string]rawMedia
		}
		Responses map[string]struct {
			Headers map[string]rawMedia
			Content map[string]rawMedia
		}
	}
	rawMedia  struct{ Schema *rawSchema }
	rawSchema struct {
		Type  any
		Items *rawSchema
	}
)

// compilation makes an operation; at is where in the document it is.
type compilation struct {
	compiler *jsonschema.Compiler
	name     string
	at       []string
	err      error // the first
}

func (c *compilation) operation(raw rawOperation) *operation {
	o := &operation{id: raw.OperationID, answers: map[string]answer{}}
	for i, p := range raw.Parameters {
		o.parameters = append(o.parameters, parameter{p.Name, p.In, p.Required, p.Explode == nil || *p.Explode,
			c.schema(&p.Schema, "parameters", fmt.Sprint(i))})
	}
	if raw.RequestBody != nil {
		o.body = &body{raw.RequestBody.Required, c.content(raw.RequestBody.Content, "requestBody", "content")}
	}
	for status, r := range raw.Responses {
		o.answers[status] = answer{c.content(r.Headers, "responses", status, "headers"), c.content(r.Content, "responses", status, "content")}
	}
	return o
}

func (c *compilation) content(raw map[string]rawMedia, at ...string) content {
	out := content{}
	for name, media := range raw {
		out[name] = c.schema(media.Schema, append(slices.Clone(at), name)...)
	}
	return out
}

func (c *compilation) schema(raw *rawSchema, at ...string) described {
	if raw == nil {
		return described{}
	}
	pointer := ""
	for _, step := range slices.Concat(c.at, at, []string{"schema"}) {
		pointer += "/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(step))
	}
	schema, err := c.compiler.Compile(c.name + "#" + pointer)
	if err != nil && c.err == nil {
		c.err = err
	}
	d := described{schema: schema, types: typesOf(raw)}
	if raw.Items != nil {
		d.items = typesOf(raw.Items)
	}
	return d
}

func typesOf(raw *rawSchema) []string {
	switch types := raw.Type.(type) {
	case string:
		return []string{types}
	case []any:
		var names []string
		for _, name := range types {
			names = append(names, fmt.Sprint(name))
		}
		return names
	default:
		return nil
	}
}

// check reports how a value is not as described.
func (d described) check(value any) error {
	if d.schema == nil {
		return nil
	}
	return d.schema.Validate(value)
}

// of finds the schema for a Content-Type.
func (c content) of(contentType string) (described, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return described{}, fmt.Errorf("content type %q: %w", contentType, err)
	}
	for _, name := range []string{kind, "*/*"} {
		if d, ok := c[name]; ok {
			return d, nil
		}
	}
	return described{}, fmt.Errorf("content type %q is none of %q", contentType, slices.Sorted(maps.Keys(c)))
}

// find is the operation of a request, with the values of its path; nil when there is none.
func (d *document) find(r *http.Request) (o *operation, value func(string) string) {
	handler, _ := d.operations.Handler(r)
	o, ok := handler.(*operation)
	if !ok {
		return nil, nil // not found, not allowed, or elsewhere
	}
	routed := r.Clone(r.Context())
	d.operations.ServeHTTP(nil, routed) // sets them
	return o, routed.PathValue
}

// ServeHTTP lets an operation be found by an http.ServeMux. It serves nothing.
func (*operation) ServeHTTP(http.ResponseWriter, *http.Request) {}
