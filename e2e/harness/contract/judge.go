package contract

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// exchange is a request and its answer.
type exchange struct {
	document  *document
	request   *http.Request
	sent      []byte // the request's body
	sentKnown bool
	answer    *http.Response
	breach    func(error) error
}

// judge returns a breach, or why the answer cannot be read.
func (e *exchange) judge() error {
	o, value := e.document.find(e.request)
	status := e.answer.StatusCode
	switch {
	case e.request.Method == http.MethodOptions: // a browser's question, of no operation
		return nil
	case o == nil && (undescribed.MatchString(e.request.URL.Path) || status == http.StatusNotFound || status == http.StatusMethodNotAllowed):
		return nil
	case o == nil:
		return e.broken(fmt.Errorf("status %d, of an operation that is not described", status))
	}
	got, streams, err := e.body(o)
	if err != nil {
		return err
	}
	if err := o.describes(e.answer, got, streams); err != nil {
		return e.broken(fmt.Errorf("answer of %s with status %d: %w", o.id, status, err))
	}
	if refused := status >= 400 && status < 500 || status == http.StatusServiceUnavailable; refused {
		return nil
	}
	if err := o.allows(e, value, got); err != nil {
		return e.broken(fmt.Errorf("request of %s was answered with status %d: %w", o.id, status, err))
	}
	return nil
}

func (e *exchange) broken(why error) error {
	return e.breach(fmt.Errorf("%s %s is not as its document says: %w", e.request.Method, e.request.URL, why))
}

// body reads the answer's, if it is JSON. What streams is judged message by message while
// it is read, as far as the document tells of messages.
func (e *exchange) body(o *operation) (got any, streams bool, err error) {
	kind, _, _ := strings.Cut(e.answer.Header.Get("Content-Type"), ";")
	switch {
	case e.request.Method == http.MethodHead || e.answer.StatusCode == http.StatusSwitchingProtocols || e.answer.Header.Get("Content-Encoding") != "":
		return nil, true, nil
	case kind == "text/event-stream":
		if d, err := o.answers[strconv.Itoa(e.answer.StatusCode)].content.of(kind); err == nil {
			e.answer.Body = &events{ReadCloser: e.answer.Body, check: func(data []byte) error {
				value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
				if err == nil {
					err = d.check(value)
				}
				if err != nil {
					return e.broken(fmt.Errorf("event %s: %w", data, err))
				}
				return nil
			}}
		}
		return nil, true, nil
	case kind != "application/json" && !strings.HasSuffix(kind, "+json"):
		return nil, true, nil
	}
	text, err := whole(e.answer)
	if err != nil || len(text) == 0 {
		return nil, false, err
	}
	if got, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err != nil {
		return nil, false, e.broken(fmt.Errorf("the answer is no JSON: %w", err))
	}
	return got, false, nil
}

// describes reports how an answer is not one of the operation's.
func (o *operation) describes(r *http.Response, got any, streams bool) error {
	a, ok := o.answers[strconv.Itoa(r.StatusCode)]
	if !ok {
		return errors.New("the status is not described")
	}
	for name, d := range a.headers {
		if text := r.Header.Get(name); text != "" {
			if err := d.check(valueOf(text, d.types)); err != nil {
				return fmt.Errorf("header %s: %w", name, err)
			}
		}
	}
	if r.StatusCode == http.StatusSwitchingProtocols || len(a.content) == 0 {
		return nil
	}
	d, err := a.content.of(r.Header.Get("Content-Type"))
	if err != nil || streams {
		return err
	}
	return d.check(got)
}

// allows reports how a request is not one that the operation takes.
func (o *operation) allows(e *exchange, path func(string) string, got any) error {
	query := e.request.URL.Query()
	for _, p := range o.parameters {
		var texts []string
		switch p.in {
		case "query":
			texts = query[p.name]
		case "path":
			texts = []string{path(p.name)}
		case "header":
			texts = e.request.Header.Values(p.name)
		}
		// One that is empty is as if it were not there, the services say.
		texts = slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return text == "" })
		if len(texts) == 0 {
			if p.required {
				return fmt.Errorf("parameter %s is required", p.name)
			}
			continue
		}
		if err := p.schema.check(p.value(texts)); err != nil {
			return fmt.Errorf("parameter %s: %w", p.name, err)
		}
	}
	if o.body == nil || !e.sentKnown {
		return nil
	}
	if len(e.sent) == 0 {
		if o.body.required {
			return errors.New("the body is required")
		}
		return nil
	}
	kind := e.request.Header.Get("Content-Type")
	if kind == "" {
		kind = "application/json" // a service may guess
	}
	d, err := o.body.content.of(kind)
	if err != nil {
		return err
	}
	value, judged, err := e.sentValue(d)
	if err != nil || !judged {
		return err
	}
	if value = taken(value, got); value == nil {
		return nil
	}
	if err := d.check(value); err != nil {
		return fmt.Errorf("body %.500s: %w", e.sent, err)
	}
	return nil
}

// sentValue is the request's body as its schema has it. Compressions but gzip are not known.
func (e *exchange) sentValue(d described) (value any, judged bool, err error) {
	var body io.Reader = bytes.NewReader(e.sent)
	switch e.request.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		if body, err = gzip.NewReader(body); err != nil {
			return nil, false, err
		}
	default:
		return nil, false, nil
	}
	if slices.Equal(d.types, []string{"string"}) {
		text, err := io.ReadAll(body)
		return string(text), true, err
	}
	if d.schema == nil {
		return nil, false, nil
	}
	value, err = jsonschema.UnmarshalJSON(body)
	return value, true, err
}

// taken leaves out of a batch the items that the answer says were rejected, each for itself:
// the rest must be as described. It is nil when there is no rest.
func taken(sent, got any) any {
	batch, isBatch := sent.([]any)
	answer, _ := got.(map[string]any)
	results, hasResults := answer["results"].([]any)
	if !isBatch || !hasResults {
		return sent
	}
	rejected := map[string]bool{}
	for _, result := range results {
		if r, _ := result.(map[string]any); r["status"] == "rejected" {
			rejected[fmt.Sprint(r["index"])] = true
		}
	}
	var rest []any
	for i, item := range batch {
		if !rejected[strconv.Itoa(i)] {
			rest = append(rest, item)
		}
	}
	if len(rest) == 0 && len(batch) > 0 {
		return nil
	}
	return rest
}

// value reads a parameter.
func (p parameter) value(texts []string) any {
	if !slices.Contains(p.schema.types, "array") {
		return valueOf(texts[0], p.schema.types)
	}
	if !p.explode {
		texts = strings.Split(strings.Join(texts, ","), ",")
	}
	list := []any{}
	for _, text := range texts {
		list = append(list, valueOf(text, p.schema.items))
	}
	return list
}

// valueOf reads a text as one of the types; what is none of them stays text, for the schema
// to refuse.
func valueOf(text string, types []string) any {
	for _, name := range types {
		switch name {
		case "boolean":
			if b, err := strconv.ParseBool(text); err == nil && text == strconv.FormatBool(b) {
				return b
			}
		case "integer", "number":
			if json.Valid([]byte(text)) && strings.Trim(text, "+-.0123456789eE") == "" {
				return json.Number(text)
			}
		}
	}
	return text
}

// events checks the data of server-sent events as they are read.
type events struct {
	io.ReadCloser
	check func(data []byte) error
	line  []byte // what there is of it
}

func (s *events) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.line = append(s.line, p[:n]...)
	for {
		line, rest, whole := bytes.Cut(s.line, []byte("\n"))
		if !whole {
			return n, err
		}
		s.line = rest
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			if err := s.check(data); err != nil {
				return 0, err
			}
		}
	}
}
