// Package metric answers how many events happened, and what they were worth, from
// the rollups: a summary of a range, and its course over time.
package metric

import (
	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/query"
)

// Register adds the operations below /v1/metrics.
func Register(api huma.API, r *query.Reader) {
	registerSummary(api, r)
	registerTimeseries(api, r)
}
