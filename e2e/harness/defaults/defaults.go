// Package defaults keeps what the user has exported, or has in an .env file, from services
// that are started to be tested or measured.
package defaults

import (
	"slices"

	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
	"weir/services/shared/config"
)

// Settings are all settings of the services, empty, as NAME=: then they have their defaults.
// What a run needs comes behind them.
func Settings() (env []string) {
	for _, s := range slices.Concat(config.Describe(ingestion.Config{}), config.Describe(consumer.Config{}), config.Describe(api.Config{})) {
		env = append(env, s.Name+"=")
	}
	return env
}
