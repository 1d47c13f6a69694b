package client_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"weir/openapi/client/api"
	"weir/openapi/client/consumer"
	"weir/openapi/client/ingestion"
)

func TestClientsHaveEveryOperation(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]any{"api": &api.Client{}, "consumer": &consumer.Client{}, "ingestion": &ingestion.Client{}} {
		methods := map[string]bool{}
		for i := range reflect.TypeOf(client).NumMethod() {
			methods[strings.ToLower(reflect.TypeOf(client).Method(i).Name)] = true
		}
		document, err := openapi3.NewLoader().LoadFromFile("../" + name + "-3.0.yaml")
		require.NoError(t, err)
		for path, item := range document.Paths.Map() {
			for _, o := range item.Operations() {
				method := strings.ToLower(strings.ReplaceAll(o.OperationID, "-", ""))
				require.True(t, methods[method] || methods[method+"withbody"], "%s %s: %s has no method: run `make generate`", name, path, o.OperationID)
			}
		}
	}
}
