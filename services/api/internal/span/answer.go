package span

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Known is the header by which a client names an answer that it has; operations embed
// it.
type Known struct {
	IfNoneMatch string `header:"If-None-Match" maxLength:"1024" doc:"ETag of an answer that the client has: 304 without a body if the numbers are still the same"`
}

// Output is an answer that may be kept by its client.
//
// A closed range, one that is past with all that its answer looks at, may still change, as
// late events are counted where they belong. So its answer may be used for a minute without
// asking, and is asked about by its ETag then; meta.as_of tells of what instant it is. The
// answer for a range that is still open is asked about each time. No shared cache keeps
// either: who may read is up to the read key.
type Output[T any] struct {
	Status       int
	CacheControl string `header:"Cache-Control" doc:"private, max-age=60 for a range that is past; private, no-cache for one that is still open"`
	ETag         string `header:"ETag" doc:"Changes when the numbers do"`
	Body         Encoded[T]
}

// Encoded is a T as JSON: a series is a hundred kilobytes of it, which the ETag needs as
// well as the answer.
type Encoded[T any] struct{ json []byte }

// JSON implements httpserver.Encoded.
func (e Encoded[T]) JSON() []byte { return e.json }

// Schema implements huma.SchemaProvider: it is that of a T.
func (Encoded[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// NotModified is what an operation with such an answer declares besides it.
func NotModified() map[string]*huma.Response {
	return map[string]*huma.Response{"304": {Description: "The numbers are those that the client has"}}
}

// Answer makes the output for a body that says as_of in its meta, or the 304 if the client
// has it. Events before until are what it is made of. The ETag is weak: as_of is left out of
// it, because it changes with every answer.
func Answer[T any](known Known, until, asOf time.Time, body *T) (*Output[T], error) {
	data, err := encode(body)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	instant, err := encode(asOf)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	before, after, _ := bytes.Cut(data, append([]byte(`"as_of":`), instant...)) // within a text the quotes are escaped
	hash := sha256.New()
	hash.Write(before)
	hash.Write(after)
	out := &Output[T]{Status: http.StatusOK, CacheControl: "private, no-cache", Body: Encoded[T]{data},
		ETag: `W/"` + base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:12]) + `"`}
	if !until.After(asOf) {
		out.CacheControl = "private, max-age=60"
	}
	if strings.Contains(known.IfNoneMatch, strings.TrimPrefix(out.ETag, "W/")) || known.IfNoneMatch == "*" {
		out.Status = http.StatusNotModified
	}
	return out, nil
}

// encode leaves <, > and & as they are, which paths are full of.
func encode(v any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), err
}
