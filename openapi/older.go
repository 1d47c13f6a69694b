package openapi

import (
	"fmt"

	"github.com/danielgtaylor/huma/v2"
	"go.yaml.in/yaml/v3"
)

// older writes the document in OpenAPI 3.0. Huma does most of it; what it leaves of 3.1
// is taken away here. The document is changed.
func older(document *huma.OpenAPI) ([]byte, error) {
	document.Info.License = &huma.License{Name: document.Info.License.Name, URL: "https://www.apache.org/licenses/LICENSE-2.0"}
	text, err := document.DowngradeYAML()
	if err != nil {
		return nil, err
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("read it again: %w", err)
	}
	dropMediaTypes(tree)
	return yaml.Marshal(tree)
}

// dropMediaTypes removes contentMediaType, which 3.0 says with the format binary alone.
func dropMediaTypes(tree any) {
	switch node := tree.(type) {
	case map[string]any:
		if node["format"] == "binary" {
			delete(node, "contentMediaType")
		}
		for _, child := range node {
			dropMediaTypes(child)
		}
	case []any:
		for _, child := range node {
			dropMediaTypes(child)
		}
	}
}
