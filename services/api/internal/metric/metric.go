// Package metric answers how many events happened, what they were worth and who did
// them: as a whole, over time, and by the values of fields. Rollups answer where they
// can, else the raw events.
package metric

import (
	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/query"
)

// exactly is what the operations have in common, for their descriptions.
const exactly = "Counts equal the stored events at any instant, late ones included. The range is rounded outward to whole minutes; " +
	"`meta` says which was used. Rollups answer filters whose parts, joined by `and`, are each about `type`, or about one other field that rollups count by, such as " +
	"`type is not \"click\" and (country is \"DE\" or country is \"FR\")`, unless they take events without that field; " +
	"others are answered from the raw events, over at most 7 days and 200,000 pairs of group and bucket. A range that needs counts older than they are kept is refused. Users and sessions are exact for raw events and, " +
	"but for collisions of hashes (0.2% at worst), up to 16,384; beyond, rollups estimate with a standard error of 0.41%."

// Register adds the operations below /v1/metrics, which remember memoryMiB of rollups.
func Register(api huma.API, read *query.Reader, memoryMiB int) {
	r := reader{read, newMemory(uint64(memoryMiB) << 20)}
	registerSummary(api, r)
	registerTimeseries(api, r)
	registerTop(api, r)
	registerBreakdown(api, r)
	registerUsers(api, r)
}
