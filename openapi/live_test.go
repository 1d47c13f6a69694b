package openapi_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// TestLiveFeedIsDescribedAsAsyncAPIWants holds live.yaml to the schema that the AsyncAPI
// project publishes (github.com/asyncapi/spec-json-schemas, schemas/3.0.0.json, Apache-2.0
// as Weir is).
func TestLiveFeedIsDescribedAsAsyncAPIWants(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/asyncapi-3.0.0.json")
	require.NoError(t, err)
	defer file.Close()
	standard, err := jsonschema.UnmarshalJSON(file)
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("asyncapi.json", standard))
	schema, err := compiler.Compile("asyncapi.json")
	require.NoError(t, err)

	text, err := os.ReadFile("live.yaml")
	require.NoError(t, err)
	check := func(text []byte) error {
		text, err := yaml.YAMLToJSON(text)
		require.NoError(t, err)
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		require.NoError(t, err)
		return schema.Validate(document)
	}
	require.NoError(t, check(text))
	require.Error(t, check(bytes.Replace(text, []byte("action: receive"), []byte("action: hear"), 1)), "the schema is applied")
}
