// Package openapi keeps the committed descriptions of the three APIs and the live feed.
package openapi

import (
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
)

// Documents returns each service's description in YAML, by its file's name: api.yaml is
// OpenAPI 3.1, api-3.0.yaml the same for generators that do not read that yet, live.yaml
// the live feed's AsyncAPI. They come from the code: `make generate` writes them down, and a test compares.
func Documents() (map[string][]byte, error) {
	documents := map[string][]byte{}
	for name, describe := range map[string]func() *huma.OpenAPI{
		"api": api.OpenAPI, "consumer": consumer.OpenAPI, "ingestion": ingestion.OpenAPI,
	} {
		document := describe()
		text, err := document.YAML()
		if err != nil {
			return nil, fmt.Errorf("write %s.yaml: %w", name, err)
		}
		documents[name+".yaml"] = text
		if text, err = older(document); err != nil {
			return nil, fmt.Errorf("write %s-3.0.yaml: %w", name, err)
		}
		documents[name+"-3.0.yaml"] = text
	}
	var err error
	if documents["live.yaml"], err = live(documents["api.yaml"]); err != nil {
		return nil, fmt.Errorf("write live.yaml: %w", err)
	}
	return documents, nil
}
