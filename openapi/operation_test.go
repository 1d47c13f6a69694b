package openapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// operations calls check with every operation of every document, and a name for it.
func operations(t *testing.T, check func(at string, o *openapi3.Operation)) {
	t.Helper()
	for _, name := range services {
		document, err := openapi3.NewLoader().LoadFromFile(name + "-3.0.yaml")
		require.NoError(t, err)
		for path, item := range document.Paths.Map() {
			for method, o := range item.Operations() {
				check(method+" "+path+" of "+name, o)
			}
		}
	}
}

func TestEveryOperationIsExplainedTaggedAndNamed(t *testing.T) {
	t.Parallel()
	operations(t, func(at string, o *openapi3.Operation) {
		require.NotEmpty(t, o.OperationID, at) // Huma panics when it is there twice
		require.NotEmpty(t, o.Summary, at)
		require.NotEmpty(t, o.Description, at)
		require.Len(t, o.Tags, 1, at)
		for status, r := range o.Responses.Map() {
			require.NotEmpty(t, *r.Value.Description, "%s: %s", at, status)
		}
	})
}

// open are the operations that everybody may use: the probes, and an image whose answer
// is the same whatever is wrong.
var open = []string{"get-health", "get-readiness", "get-pixel"}

// TestEveryOperationTellsWhoMayUseItAndHowItFails holds the documents to what all
// operations have in common. That the services answer nothing else, the tests on real
// servers hold: each checks its requests and answers.
func TestEveryOperationTellsWhoMayUseItAndHowItFails(t *testing.T) {
	t.Parallel()
	operations(t, func(at string, o *openapi3.Operation) {
		require.NotNil(t, o.Security, at)
		want := []int{http.StatusInternalServerError}
		if o.OperationID != "get-pixel" {
			want = append(want, http.StatusUnprocessableEntity)
		}
		if !slices.Contains(open, o.OperationID) {
			require.NotEmpty(t, *o.Security, at)
			want = append(want, http.StatusUnauthorized, http.StatusForbidden)
		}
		if o.RequestBody != nil {
			want = append(want, http.StatusBadRequest, http.StatusRequestTimeout, http.StatusUnsupportedMediaType)
		}
		if strings.Contains(at, "{") {
			want = append(want, http.StatusNotFound)
		}
		for _, status := range want {
			require.NotNil(t, o.Responses.Status(status), "%s: %d", at, status)
		}
		require.Nil(t, o.Responses.Default(), at)
		for status, r := range o.Responses.Map() {
			if status < "400" || o.OperationID == "get-readiness" && status == "503" {
				continue
			}
			require.Len(t, r.Value.Content, 1, "%s: %s", at, status)
			require.NotNil(t, r.Value.Content["application/problem+json"], "%s: %s", at, status)
			if status == "429" || status == "503" {
				require.NotNil(t, r.Value.Headers["Retry-After"], "%s: %s", at, status)
			}
		}
	})
}

// TestEveryParameterIsBounded stands for the linter's rules on limits, which would have
// them of answers too. Headers are bounded by the server, and so is
// a write key, which may be one; what the pixel is given, an event's rules judge.
func TestEveryParameterIsBounded(t *testing.T) {
	t.Parallel()
	operations(t, func(at string, o *openapi3.Operation) {
		for _, p := range o.Parameters {
			at := at + ": " + p.Value.Name
			require.NotEmpty(t, p.Value.Description, at)
			if p.Value.In == "header" || p.Value.Name == "write_key" || o.OperationID == "get-pixel" {
				continue
			}
			s := p.Value.Schema.Value
			switch {
			case s.Type.Is("array"):
				assert.NotNil(t, s.MaxItems, at)
			case s.Type.Is("string"):
				assert.True(t, s.MaxLength != nil || s.Pattern != "" || len(s.Enum) > 0 || s.Format != "", at)
			case s.Type.Is("integer"):
				assert.NotNil(t, s.Min, at)
				assert.NotEmpty(t, s.Format, at)
			}
		}
	})
}

func TestEveryBodyHasAnExampleThatItsSchemaTakes(t *testing.T) {
	t.Parallel()
	operations(t, func(at string, o *openapi3.Operation) {
		check := func(at string, content openapi3.Content) {
			for kind, media := range content {
				if media.Schema.Value.Format == "binary" {
					continue
				}
				require.NotNil(t, media.Example, "%s: %s", at, kind)
				require.NoError(t, media.Schema.Value.VisitJSON(media.Example, openapi3.EnableFormatValidation()), "%s: %s", at, kind)
			}
		}
		if o.RequestBody != nil {
			check(at, o.RequestBody.Value.Content)
		}
		for status, r := range o.Responses.Map() {
			check(at+": "+status, r.Value.Content)
		}
		for _, p := range o.Parameters {
			if p.Value.Example != nil {
				require.NoError(t, p.Value.Schema.Value.VisitJSON(p.Value.Example), "%s: %s", at, p.Value.Name)
			}
		}
	})
}
