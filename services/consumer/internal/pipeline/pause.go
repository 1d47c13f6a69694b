package pipeline

// Pause stops reading until Resume. What was read is still written; the backlog
// stays in the stream, or goes to other consumers. It does not outlive the process.
func (p *Pipeline) Pause() { p.paused.Store(true) }

// Resume goes on reading.
func (p *Pipeline) Resume() { p.paused.Store(false) }
