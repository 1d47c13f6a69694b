package pipeline

import "time"

// Status is what the pipeline is doing.
type Status struct {
	Paused     bool
	Breaker    string
	Rate       float64       // entries done with per second, over the last ten
	LastFlush  time.Time     // zero before the first
	LastBatch  int64         // its entries
	LastTook   time.Duration // its transaction
	BatchLimit int           // most entries of a batch, now
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
	s := Status{
		Paused: p.paused.Load(), Breaker: p.breaker.State().String(), Rate: p.rate.PerSecond(time.Now()),
		BatchLimit: p.size.events(), LastBatch: p.lastBatch.Load(), LastTook: time.Duration(p.lastTook.Load()),
	}
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
