package query

// Rebuilds is SQL for how often rollups were made anew: whatever was remembered of what they
// tell may be wrong since the last time.
const Rebuilds = "(SELECT coalesce(max(id), 0) FROM rebuilds)"
