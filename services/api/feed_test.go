package api_test

import (
	"bytes"
	"encoding/json"
	"os"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// said are the schemas of the live feed's messages, by type, of its AsyncAPI document.
var said = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	const name = "live.yaml"
	text, err := os.ReadFile("../../openapi/" + name)
	if err != nil {
		return nil, err
	}
	if text, err = yaml.YAMLToJSON(text); err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var messages struct {
		Components struct {
			Messages map[string]any `json:"messages"`
		} `json:"components"`
	}
	if err := json.Unmarshal(text, &messages); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, document); err != nil {
		return nil, err
	}
	all := map[string]*jsonschema.Schema{}
	for kind := range messages.Components.Messages {
		if all[kind], err = c.Compile(name + "#/components/messages/" + kind + "/payload"); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// asDescribed holds a message, in either direction, to the AsyncAPI document. All viewers
// do so with what they receive.
func asDescribed(t testing.TB, kind string, message []byte) {
	t.Helper()
	schemas, err := said()
	require.NoError(t, err)
	require.Contains(t, schemas, kind, "the document does not know %s", message)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(message))
	require.NoError(t, err)
	require.NoError(t, schemas[kind].Validate(value), "%s", message)
}

// TestWhatAClientMaySayIsDescribed sends nothing: what the api takes and refuses is tested
// with its answers.
func TestWhatAClientMaySayIsDescribed(t *testing.T) {
	t.Parallel()
	asDescribed(t, "ping", []byte(`{"type":"ping"}`))
	asDescribed(t, "subscribe", []byte(`{"type":"subscribe"}`))
	asDescribed(t, "subscribe", []byte(`{"type":"subscribe","metrics":false,"dimensions":["path","country"],"events":5,"filter":"value > 100"}`))
	schemas, err := said()
	require.NoError(t, err)
	for _, wrong := range []string{`{"type":"subscribe","colour":"red"}`, `{"type":"subscribe","events":51}`, `{"type":"subscribe","dimensions":["shoe"]}`} {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(wrong)))
		require.NoError(t, err)
		require.Error(t, schemas["subscribe"].Validate(value), wrong)
	}
}
