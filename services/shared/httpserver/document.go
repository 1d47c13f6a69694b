package httpserver

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

const typeProblem = "application/problem+json"

// Describe completes the document, once all operations are there: the tags, each with
// what its operations are about, and of every operation the problems that any may answer,
// and examples.
func (a API) Describe(tags map[string]string) {
	document := a.OpenAPI()
	document.Tags = nil
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		document.Tags = append(document.Tags, &huma.Tag{Name: name, Description: tags[name]})
	}
	for _, item := range document.Paths {
		for _, o := range []*huma.Operation{item.Get, item.Post, item.Patch} {
			if o == nil {
				continue
			}
			a.describeProblems(o)
			if o.RequestBody != nil {
				a.describeContent(o.RequestBody.Content)
			}
			for _, r := range o.Responses {
				a.describeContent(r.Content)
			}
		}
	}
}

// describeProblems adds the answers that do not depend on what an operation does.
func (a API) describeProblems(o *huma.Operation) {
	delete(o.Responses, "default") // what Huma writes where it knows of no problem
	common := []int{http.StatusInternalServerError}
	if !o.SkipValidateParams {
		common = append(common, http.StatusUnprocessableEntity) // an unknown parameter
	}
	if len(o.Security) > 0 {
		common = append(common, http.StatusUnauthorized, http.StatusForbidden)
	} else {
		o.Security = []map[string][]string{} // written down as open to everybody
	}
	schema := a.OpenAPI().Components.Schemas.Schema(typeOf[huma.ErrorModel](), true, "")
	for _, status := range common {
		if code := strconv.Itoa(status); o.Responses[code] == nil {
			o.Responses[code] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{typeProblem: {Schema: schema}}}
		}
	}
	for code, r := range o.Responses {
		problem := r.Content[typeProblem]
		if problem == nil {
			continue
		}
		status, _ := strconv.Atoi(code)
		if problem.Example == nil {
			problem.Example = problemExample(status)
		}
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			r.Headers = map[string]*huma.Param{"Retry-After": {Description: "Seconds after which to try again", Example: 2,
				Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int32", Minimum: new(float64)}}}
		}
	}
}

// describeContent gives each form of a body an example, made of those of its fields.
func (a API) describeContent(content map[string]*huma.MediaType) {
	for _, media := range content {
		if media.Example == nil && media.Schema != nil && media.Schema.Format != "binary" {
			media.Example = a.example(media.Schema)
		}
	}
}

// example is a value of a schema: the one that it gives, or one made of its parts'.
func (a API) example(s *huma.Schema) any {
	if s.Ref != "" {
		s = a.OpenAPI().Components.Schemas.SchemaFromRef(s.Ref)
	}
	switch {
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Format == "date-time":
		return "2026-01-02T15:04:05Z"
	}
	switch s.Type {
	case huma.TypeBoolean:
		return false
	case huma.TypeArray:
		if one := a.example(s.Items); one != nil {
			return []any{one}
		}
	case huma.TypeObject:
		object := map[string]any{}
		for name, property := range s.Properties {
			if value := a.example(property); value != nil {
				object[name] = value
			}
		}
		return object
	}
	return nil
}

func problemExample(status int) map[string]any {
	problem := map[string]any{"title": http.StatusText(status), "status": status, "detail": details[status]}
	if status == http.StatusUnprocessableEntity {
		problem["errors"] = []any{map[string]any{"location": "query.limit", "message": "expected number >= 1", "value": -1}}
	}
	return problem
}

var details = map[int]string{
	http.StatusBadRequest:            "The body is not JSON.",
	http.StatusUnauthorized:          "This needs a key: send the header Authorization: Bearer <key>.",
	http.StatusForbidden:             "The key is not known.",
	http.StatusNotFound:              "There is nothing with this id.",
	http.StatusRequestTimeout:        "The body took too long to arrive.",
	http.StatusRequestEntityTooLarge: "The body is too large.",
	http.StatusUnsupportedMediaType:  "The Content-Type must be application/json.",
	http.StatusUnprocessableEntity:   "validation failed",
	http.StatusUpgradeRequired:       "WebSocket protocol violation: Connection header does not contain Upgrade",
	http.StatusTooManyRequests:       "The write key may send 1000 events a second. None of these was taken: send them again in 2 s.",
	http.StatusInternalServerError:   internalError,
	http.StatusServiceUnavailable:    "The database cannot be reached just now; try again after the seconds in Retry-After.",
	http.StatusGatewayTimeout:        "The question took longer than 10s; ask for a smaller range, a coarser interval or fewer groups.",
}
