package generator

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/loadgen"
)

const (
	// tick is how often due items are sent: short enough to be even, long enough
	// that at high rates a tick fills a pipeline.
	tick = 5 * time.Millisecond
	// Most bounds what is sent at once.
	Most = 2000
	// lanes is how many batches are on their way at once: while one waits for Redis,
	// the next is made.
	lanes = 4
)

// Run sends the items of one source when they are due. It is open loop: a slow
// receiver makes items late, and by how much is recorded, but it does not change what
// is generated, nor when it was due. What is due while all lanes are taken is not made
// yet, so memory is bounded however far behind a run is.
type Run struct {
	Source     *loadgen.Generator
	Start      time.Time
	Partitions int
	Lanes      int  // batches on their way at once; 0 is four
	Most       int  // items of a batch; 0 is Most
	Unpaced    bool // send everything at once, as fast as it goes

	// Send sends a batch, and reports whether it was taken. An error ends the run.
	Send       func(context.Context, *Batch) (taken bool, err error)
	Statistics *Statistics

	resident bool          // goes on when the volume is reached: it may be changed
	halt     chan struct{} // closed to end it; nil for one that ends by itself
	mu       sync.Mutex    // guards Source and finished, which a control API changes
	finished bool          // the volume is reached, and all is sent
}

// Do sends until the volume is reached or ctx ends; batches that are on their way
// then still arrive.
func (r *Run) Do(ctx context.Context) error {
	if r.Lanes == 0 {
		r.Lanes = lanes
	}
	if r.Most == 0 {
		r.Most = Most
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if r.halt != nil {
		group.Go(func() error {
			select {
			case <-r.halt:
				cancel()
			case <-ctx.Done():
			}
			return nil
		})
	}
	free := make(chan *Batch, r.Lanes)
	for range r.Lanes {
		free <- &Batch{}
	}
	group.Go(func() error {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for {
			var b *Batch
			select {
			case b = <-free:
			case <-ctx.Done():
				return nil
			}
			b.reset()
			more := r.fill(b)
			full := b.Len() == r.Most
			if b.Len() == 0 {
				r.rest(!more && len(free) == r.Lanes-1)
				free <- b
			} else {
				group.Go(func() error {
					defer func() { free <- b }()
					return r.deliver(ctx, b)
				})
			}
			if full {
				continue // behind: no pause
			}
			if !more && !r.resident {
				return nil
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
		}
	})
	return group.Wait()
}

// fill makes the items that are due, and reports whether there will be more.
func (r *Run) fill(b *Batch) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.Start)
	defer func() {
		r.finished = r.finished && b.Len() == 0
		r.Statistics.offer(b.Len())
	}()
	for b.Len() < r.Most {
		at, ok := r.Source.Peek()
		if !ok {
			return false
		}
		if at > now && !r.Unpaced {
			return true
		}
		b.take(r.Source, r.Partitions)
	}
	return true
}

// rest notes whether everything is done, for now.
func (r *Run) rest(finished bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished = finished
}

func (r *Run) deliver(ctx context.Context, b *Batch) error {
	begun := time.Now()
	taken, err := r.Send(ctx, b)
	if err != nil {
		if ctx.Err() != nil {
			return nil // ended while it was held back
		}
		return err
	}
	r.Statistics.record(b, r, begun, taken)
	return nil
}
