package pipeline

import "time"

// Status is what the pipeline is doing.
type Status struct {
	Breaker    string
	LastFlush  time.Time // zero before the first
	Partitions []Partition
}

// Partition is one stream's backlog, as last measured.
type Partition struct {
	Stream          string
	Measured        bool
	Events, Pending int64
	Age             time.Duration
}

// Status reports the pipeline's state.
func (p *Pipeline) Status() Status {
	s := Status{Breaker: p.breaker.State().String()}
	if ms := p.lastFlush.Load(); ms > 0 {
		s.LastFlush = time.UnixMilli(ms).UTC()
	}
	for i, g := range p.Groups {
		part := Partition{Stream: g.Key}
		if b := p.backlogs[i].Load(); b != nil {
			part.Measured, part.Events, part.Pending, part.Age = true, b.Events, b.Pending, b.Age
		}
		s.Partitions = append(s.Partitions, part)
	}
	return s
}
