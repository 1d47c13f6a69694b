package deploy_test

import (
	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
	"weir/services/shared/config"
	"weir/services/shared/pgpool"
)

// settings are the names of what a command reads from its environment. Shared settings
// are given to all services alike, so those of any of them count.
func settings(command string) map[string]bool {
	names := map[string]bool{}
	if command == "migrate" {
		for _, s := range config.Describe(pgpool.Config{}) {
			names[s.Name] = true
		}
		return names
	}
	for _, cfg := range []any{api.Config{}, consumer.Config{}, ingestion.Config{}} {
		for _, s := range config.Describe(cfg) {
			names[s.Name] = true
		}
	}
	return names
}
