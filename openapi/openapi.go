// Package openapi keeps the committed descriptions of the three APIs.
package openapi

import (
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
)

// Documents returns each service's description in YAML, by its file's name. They
// come from the code: `make generate` writes them down, and a test compares.
func Documents() (map[string][]byte, error) {
	documents := map[string][]byte{}
	for name, describe := range map[string]func() *huma.OpenAPI{
		"api.yaml": api.OpenAPI, "consumer.yaml": consumer.OpenAPI, "ingestion.yaml": ingestion.OpenAPI,
	} {
		text, err := describe().YAML()
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		documents[name] = text
	}
	return documents, nil
}
