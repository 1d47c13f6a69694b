package loadgen

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Schema is the JSON Schema (draft 2020-12) of a profile, for editors and for
// other programs that write profiles.
//
//go:embed profile.schema.json
var Schema []byte

// schemas compiles the profile's schema and those of its parts that are set on
// their own, once.
var schemas = sync.OnceValue(func() map[string]*jsonschema.Schema {
	const url = "profile.schema.json"
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		panic(err) // embedded: every test would fail
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(url, document); err != nil {
		panic(err)
	}
	out := map[string]*jsonschema.Schema{"profile": c.MustCompile(url)}
	for _, part := range []string{"shape", "volume", "journey", "faults"} {
		out[part] = c.MustCompile(url + "#/$defs/" + part)
	}
	return out
})

// check holds a value, as it is in JSON, to the schema of that name. The error
// has one line for each fault: where it is, and which rule it breaks.
func check(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	err = schemas()[name].Validate(instance)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	return errors.Join(schemaFaults(name, invalid, message.NewPrinter(language.English))...)
}

// schemaFaults collects the leaves: what stands above them only says that one
// failed.
func schemaFaults(name string, e *jsonschema.ValidationError, p *message.Printer) (out []error) {
	for _, cause := range e.Causes {
		out = append(out, schemaFaults(name, cause, p)...)
	}
	if len(e.Causes) > 0 {
		return out
	}
	where := strings.Join(append([]string{name}, e.InstanceLocation...), ".")
	return []error{fmt.Errorf("%s: %s", where, e.ErrorKind.LocalizedString(p))}
}
