package openapi

import (
	_ "embed"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// feed is the AsyncAPI document of the live feed, without the schemas.
//
//go:embed live.head.yaml
var feed []byte

// live completes it with the schemas of the api's own document, so that both say the same.
func live(api []byte) ([]byte, error) {
	type document struct {
		Components struct {
			Schemas map[string]any `yaml:"schemas"`
		} `yaml:"components"`
	}
	var from document
	if err := yaml.Unmarshal(api, &from); err != nil {
		return nil, fmt.Errorf("read the api's schemas: %w", err)
	}
	var out map[string]any
	if err := yaml.Unmarshal(feed, &out); err != nil {
		return nil, fmt.Errorf("read live.head.yaml: %w", err)
	}
	schemas := out["components"].(map[string]any)["schemas"].(map[string]any)
	add(schemas, from.Components.Schemas, "Message")
	return yaml.Marshal(out)
}

// add copies a schema and those that it refers to.
func add(to, from map[string]any, name string) {
	if to[name] != nil {
		return
	}
	to[name] = from[name]
	var follow func(any)
	follow = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			if ref, ok := node["$ref"].(string); ok {
				add(to, from, strings.TrimPrefix(ref, "#/components/schemas/"))
			}
			for _, child := range node {
				follow(child)
			}
		case []any:
			for _, child := range node {
				follow(child)
			}
		}
	}
	follow(from[name])
}
