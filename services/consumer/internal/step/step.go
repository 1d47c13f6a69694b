// Package step names the steps of a flush, so that a test can kill, stop or hold a
// consumer at each of them. Nothing else uses the names.
package step

// Step is a point of the flush: what its name says has just happened.
type Step string

// The steps, in the order of the flush. What a crash at each leaves behind is said
// where they are passed: in pipeline.write, and in package store for those between
// Decoded and Committed.
const (
	Gathered     Step = "gathered"
	Decoded      Step = "decoded"
	Resolved     Step = "keys resolved"
	Copying      Step = "copying" // all rows are sent, the end of the COPY is not
	Copied       Step = "copied"
	Staged       Step = "staged"
	Inserted     Step = "inserted"
	DeadLettered Step = "dead-lettered"
	Counted      Step = "counted" // the deltas are written: COMMIT comes next
	Committed    Step = "committed"
	Published    Step = "published"
	Acknowledged Step = "acknowledged"
)

// Optimistic is the steps of a batch that is copied straight into the table.
func Optimistic() []Step {
	return []Step{Gathered, Decoded, Resolved, Copying, Copied, DeadLettered, Counted, Committed, Published, Acknowledged}
}

// Careful is the steps of a batch that may hold what is stored already.
func Careful() []Step {
	return []Step{Gathered, Decoded, Resolved, Staged, Inserted, DeadLettered, Counted, Committed, Published, Acknowledged}
}

// Hook is called at each step; nil is none. It may end the process.
type Hook func(Step)

// At tells the hook, if there is one, that a step is reached.
func (h Hook) At(s Step) {
	if h != nil {
		h(s)
	}
}
